import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { makeImage, PASSPHRASE } from '../support/luks.ts';
import { run } from '../support/run.ts';
import { answer, serveHttp } from '../support/servers.ts';
import { type Stage, setStage } from '../support/stage.ts';

/**
 * systemd's own client, Debian 12's place and 13's. Without a device mapper attaching fails, after it has asked for the
 * key: what is looked at is the handler's side.
 */
const CLIENT = ['/usr/lib/systemd/systemd-cryptsetup', '/usr/bin/systemd-cryptsetup'].find(existsSync) ?? '';
const { path: image } = makeImage(t.testdir(), 'image');
const server = await serveHttp(t, answer(200, PASSPHRASE));
const url = `http://127.0.0.1:${server.port}/key`;
/** Where there is a device mapper, attaching succeeds, and names like this are in its table for a moment. */
const own = `flk-${process.pid}`;

async function stageFor(t: Test, ...volumes: string[]): Promise<Stage> {
  const stage = await setStage(t);
  const settings = volumes.map((volume) => [volume, { url, 'allow-plaintext': true }]);
  stage.configure({ volumes: Object.fromEntries(settings) });
  writeFileSync(stage.crypttab, volumes.map((volume) => `${volume} ${image} ${stage.path} luks\n`).join(''));
  return stage;
}

async function attach(stage: Stage, volume: string): Promise<void> {
  const client = [CLIENT, 'attach', volume, image, stage.path, 'luks,headless=1'];
  const { status } = await run(client, Buffer.alloc(0), {});
  if (status === 0) await run([CLIENT, 'detach', volume], Buffer.alloc(0), {});
}

t.test('systemd-cryptsetup is installed', async (t) => {
  t.not(CLIENT, '', 'on Debian 13 it has a package of its own name');
});

t.test('systemd’s own client is understood, and asks for nothing else', async (t) => {
  const volumes = [own, `${own} µ Übung`, `${own}.${'v'.repeat(77 - own.length)}`];
  const stage = await stageFor(t, ...volumes);
  for (const volume of volumes) {
    await attach(stage, volume);
    t.equal(await stage.ended(), 0, volume);
    const [line = '', ...others] = stage.journal.splice(0);
    const delivered = `<6>${volume}: key delivered, opened by ${url} in `;
    t.equal(line.slice(0, delivered.length), delivered);
    t.same(others, []);
  }
});

t.test('and refused where it has to be', async (t) => {
  const stage = await stageFor(t, own);
  await attach(stage, `${own}-unknown`);
  t.equal(await stage.ended(), 3);
  t.match(stage.journal.splice(0), [/^<3>\S+-unknown: no sealed key for \S+-unknown: /]);

  const options = 'luks,headless=1,fido2-device=auto,fido2-cid=AAAA,fido2-rp=x';
  const client = spawn(CLIENT, ['attach', own, image, stage.path, options], { stdio: 'ignore' });
  const exit = once(client, 'exit');
  t.equal(await stage.ended(), 4);
  t.match(stage.journal[0], new RegExp(`^<4>${own}: a blob for fido2(?:-salt)? was asked for`));
  // Systemd 252 now waits for somebody to plug the token in.
  client.kill();
  await exit;
});
