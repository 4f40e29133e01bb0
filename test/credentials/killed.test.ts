import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { fetchLuksKey } from '../support/command-line.ts';
import { run } from '../support/run.ts';
import { startTang } from '../support/tang.ts';

t.setTimeout(300_000);

const tang = await startTang(t);
const config = { url: tang.url, thp: tang.thp };
const [NODE = '', ...PROGRAM] = DEFAULT_PROGRAM;
const KILL_AT = join(import.meta.dirname, '../support/kill-at.ts');
const OTHER_WAY = ['sss', JSON.stringify({ t: 1, pins: { tang: config } })];

t.test('rotate and edit, killed before anything that they change, leave a secret that opens', async (t) => {
  const etc = t.testdir({});
  const path = `${etc}/credentials/a.service/x.jwe`;
  const opened = async () => (await fetchLuksKey(['open', path])).stdout;
  const way = ['tang', JSON.stringify(config)];
  const sealed = await fetchLuksKey(['seal', '--credential', 'a.service/x', '--etc', etc, ...way], 'secret');
  t.equal(sealed.status, 0, sealed.stderr);
  const rotate = (...more: string[]) =>
    fetchLuksKey(['credential', 'rotate', 'a.service', 'x', ...more, '--etc', etc]);
  const killed = async (at: number, action: string, more: string[]) => {
    const log = `${etc}/log`;
    const args = ['credential', action, 'a.service', 'x', ...more, '--etc', etc];
    const environment = { KILL_AT: String(at), KILL_LOG: log, EDITOR: 'sed -i s/secret/another/' };
    const { status } = await run(
      [NODE, '--import', KILL_AT, ...PROGRAM, ...args],
      Buffer.alloc(0),
      environment,
    );
    t.equal(status, null, `${action} ${more[0] ?? ''} is killed`);
    return readFileSync(log, 'utf8').trim().split('\n').at(-1);
  };
  for (const [action, more] of [
    ['rotate', []],
    ['edit', []],
    ['rotate', OTHER_WAY],
  ] as const) {
    t.equal(await killed(1, action, [...more]), 'replace a.service/x.json');
    t.equal(await opened(), 'secret', 'before how it was sealed is written');
    t.equal((await rotate()).status, 0);
    t.equal(await killed(2, action, [...more]), 'replace a.service/x.jwe');
    t.equal(await opened(), 'secret', 'before the secret is replaced');
    // Of the way that was not taken in the end nothing is believed.
    if (more.length > 0) t.equal((await rotate()).status, 2);
    const onwards = await rotate(...(more.length > 0 ? way : []));
    t.equal(onwards.status, 0, 'and goes on from there', { stderr: onwards.stderr });
    t.equal(await opened(), 'secret');
  }
});
