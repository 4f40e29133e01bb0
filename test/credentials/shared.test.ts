import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { askSocket } from '../../src/os/named-client.ts';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { seal } from '../support/sealing.ts';
import { startTang } from '../support/tang.ts';
import { ownFolder } from '../support/tpm.ts';

t.setTimeout(300_000);

const tang = await startTang(t);
const sealed = await seal('tang', { url: tang.url, thp: tang.thp }, 'a credential');
const REFUSAL = 1024 * 1024 + 1;

/** `handle --all` behind a real socket: it is started by the first who connects (Accept=no). */
async function shared(t: Test, jwe = sealed) {
  const folder = ownFolder(t);
  const path = `${folder}/s`;
  mkdirSync(`${folder}/etc/credentials.encrypted/a@.service`, { recursive: true });
  mkdirSync(`${folder}/etc/credentials/a@.service`, { recursive: true });
  writeFileSync(`${folder}/etc/credentials.encrypted/a@.service/x.jwe`, jwe);
  writeFileSync(`${folder}/etc/credentials/a@.service/plain.jwe`, jwe);
  const program = [...DEFAULT_PROGRAM, 'handle', '--all', '--etc', `${folder}/etc`];
  const child: ChildProcess = spawn('systemd-socket-activate', ['-l', path, ...program], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'close') as Promise<[number | null, string | null]>;
  t.teardown(() => child.kill('SIGKILL'));
  const journal: string[] = [];
  if (child.stderr === null) throw new Error('no pipe');
  const lines = createInterface({ input: child.stderr });
  lines.on('line', (line) => void (line.startsWith('<') && journal.push(line)));
  await once(lines, 'line');
  const ask = (name: string) =>
    askSocket(
      path,
      Buffer.from(`\0${Math.random().toString(16).slice(2, 14)}${name}`),
      2 ** 21,
      new AbortController().signal,
    );
  return { child, ended, journal, ask };
}

t.test('one process answers all, whoever of them is refused, and ends when nobody asks', async (t) => {
  const { child, ended, journal, ask } = await shared(t);
  const names = Array.from({ length: 20 }, (_, index) => `/unit/a@${index}.service/x`);
  const wrong = ['/unit/a@1.service/plain', '/unit/b.service/x', '/unit/../x'];
  const answers = await Promise.all([...names, ...wrong].map(ask));
  for (const [index, name] of names.entries()) t.equal(answers[index]?.toString(), 'a credential', name);
  for (const answer of answers.slice(names.length)) t.equal(answer.length, REFUSAL);
  t.equal((await ask('/cryptsetup/data')).length, 64);
  t.strictSame(await ended, [0, null]);
  t.match(journal.at(-1), /^<4>data: this socket serves encrypted service credentials, not volumes/);
  t.equal(journal.length, names.length + wrong.length + 1);
  t.equal(child.pid !== undefined, true);
});

t.test('told to stop, it refuses whom it has not answered; killed, they get nothing', async (t) => {
  const silent = await startTang(t);
  const held = await seal('tang', { url: silent.url, thp: silent.thp }, 'a credential');
  await silent.stop();
  for (const [signal, bytes] of [
    ['SIGTERM', REFUSAL],
    ['SIGKILL', 0],
  ] as const) {
    const { child, ended, ask } = await shared(t, held);
    const asking = [ask('/unit/a@1.service/x'), ask('/unit/a@2.service/x')];
    // The third is answered at once: then the others are waited for.
    t.equal((await ask('/unit/b.service/x')).length, REFUSAL);
    child.kill(signal);
    for (const answer of await Promise.all(asking)) t.equal(answer.length, bytes, signal);
    t.strictSame(await ended, signal === 'SIGTERM' ? [0, null] : [null, signal]);
  }
});

t.test('without a socket it says so', async (t) => {
  fails(
    t,
    'by hand',
    await fetchLuksKey(['handle', '--all']),
    2,
    /expected one listening socket from systemd/,
  );
  fails(t, 'a wrong option', await fetchLuksKey(['handle', '--all', '--no']), 2, /unknown option/);
});
