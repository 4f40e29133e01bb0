import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { atTerminal } from '../support/command-line.ts';
import { run } from '../support/run.ts';

const NODE = process.execPath;

/** Asks, and writes how that ended. It ends by itself only when nothing that asked is left. */
const ASK = `
import { confirm } from ${JSON.stringify(new URL('../../src/os/terminal.ts', import.meta.url).href)};
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
process.stdout.write(await confirm(['first', 'second'], 'Sure?', '', stop.signal).then(
  () => 'confirmed',
  ({ code, message }) => code + ': ' + message,
));
`;

/** What there is to restore: settings, and whether reading waits (a shell whose reading does not logs its user out). */
const STATE = '{ stty -g; grep flags /proc/self/fdinfo/0; }';

/** Asks at a terminal, where `keys` are pressed; @returns how it ended, and the screen. */
async function answer(t: Test, keys: readonly string[]): Promise<{ result: string; screen: string }> {
  const folder = t.testdir();
  const terminal = atTerminal(
    t,
    folder,
    `trap : INT; ${STATE} > before; "$NODE" --no-warnings --input-type=module -e "$ASK" < /dev/null > result; ${STATE} > after`,
    { NODE, ASK },
  );
  await terminal.shows('Sure? [yN] ');
  for (const key of keys) terminal.press(key);
  const { screen } = await terminal.ended;
  const file = (name: string) => readFileSync(`${folder}/${name}`, 'utf8');
  t.match(file('before'), /^flags:/m);
  t.equal(file('after'), file('before'), 'the terminal is as it was');
  return { result: file('result'), screen };
}

t.test('yes, and the process ends without another key', async (t) => {
  for (const keys of [['y\n'], ['YES\n'], ['y', 'e', 's', '\n'], ['x\x7fy\n']]) {
    const { result, screen } = await answer(t, keys);
    t.equal(result, 'confirmed', JSON.stringify(keys));
    t.match(screen, /^first\nsecond\nSure\? \[yN\] /);
  }
});

t.test('anything else is no, the end of the input too', async (t) => {
  for (const keys of ['n\n', '\n', 'yess\n', 'no y\n', '\x04', 'y\x04\x04']) {
    const { result, screen } = await answer(t, [keys]);
    t.equal(result, 'refused: the answer was no', JSON.stringify(keys));
    t.match(screen, /\n$/, 'what follows begins on a line of its own');
  }
});

t.test('Ctrl-C stops it', async (t) => {
  const { result, screen } = await answer(t, ['y', '\x03']);
  t.equal(result, 'stopped: stopped before "Sure?" was answered');
  t.match(screen, /\n$/);
});

t.test('without a terminal nobody is asked', async (t) => {
  const { stdout } = await run(
    ['/usr/bin/setsid', '--wait', NODE, '--no-warnings', '--input-type=module', '-e', ASK],
    Buffer.from('y\n'),
    {},
  );
  t.equal(stdout.toString(), 'refused: no terminal to ask at: first second');
});
