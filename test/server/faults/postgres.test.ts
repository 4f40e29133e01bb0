import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { AskingMachine } from '../../support/asking.ts';
import { makeFleet } from '../../support/fleet.ts';
import { startKeyServer } from '../../support/key-server.ts';
import { startPostgres } from '../../support/postgres.ts';
import { ownFolder } from '../../support/tpm.ts';

t.setTimeout(300_000);

for (const end of ['stop', 'kill'] as const) {
  t.test(
    `PostgreSQL goes and comes (${end}): nothing is released meanwhile, and the server goes on`,
    async (t) => {
      const folder = ownFolder(t);
      const postgres = await startPostgres(t);
      const location = await postgres.database();
      writeFileSync(`${folder}/store`, location, { mode: 0o600 });
      const [asker] = await makeFleet(`${folder}/state`, 1, 1, { location });
      if (asker === undefined) throw new Error('no machine');
      const options = ['--state', `${folder}/state`, '--store', `file:${folder}/store`];
      const server = await startKeyServer(t, ...options);
      const machine = new AskingMachine(asker, server.url);
      t.teardown(() => machine.close());
      t.equal(await machine.recover(), 200);

      await postgres[end]();
      const away = [await machine.recover(), await machine.keepAlive()];
      for (const status of away) t.not(status, 200, 'no answer without its record');
      t.ok(away.includes(503), 'told to come again', { away });

      await postgres.start();
      let status: number | null = null;
      while (status !== 200) {
        await pause(200);
        status = await machine.recover();
      }
      const released = (await server.command('audit', 'show', '--json')).stdout.match(
        /"what":"recover","outcome":"done"/g,
      );
      t.equal(released?.length, 2);
      t.equal((await server.command('audit', 'verify')).status, 0);
    },
  );
}
