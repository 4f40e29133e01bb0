import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { atTerminal } from '../support/command-line.ts';
import { run } from '../support/run.ts';

const NODE = process.execPath;

const ASK = `
import { askPassphrase } from ${JSON.stringify(new URL('../../src/os/terminal.ts', import.meta.url).href)};
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
process.stdout.write(await askPassphrase('Passphrase:', 'give a file', stop.signal).then(
  (secret) => 'got ' + JSON.stringify(secret.reveal().toString()),
  ({ code, message, hint }) => code + ': ' + message + (hint ? ' (' + hint + ')' : ''),
));
`;

/** Asks at a terminal, where `keys` are pressed; @returns how it ended, and the screen. */
async function answer(t: Test, keys: string): Promise<{ result: string; screen: string }> {
  const folder = t.testdir();
  const script = `trap : INT; stty -g > before; "$NODE" --no-warnings --input-type=module -e "$ASK" < /dev/null > result; stty -g > after`;
  const terminal = atTerminal(t, folder, script, { NODE, ASK });
  await terminal.shows('Passphrase: ');
  terminal.press(keys);
  const { screen } = await terminal.ended;
  const file = (name: string) => readFileSync(`${folder}/${name}`, 'utf8');
  t.match(file('before'), /:/);
  t.equal(file('after'), file('before'), 'the terminal shows again what is typed');
  return { result: file('result'), screen };
}

t.test('a passphrase comes as it was typed, and is not shown', async (t) => {
  for (const typed of ['correct horse', ' ä ', '', 'x'.repeat(300)]) {
    const { result, screen } = await answer(t, `${typed}\n`);
    t.equal(result, `got ${JSON.stringify(typed)}`);
    t.equal(screen, 'Passphrase: \n');
  }
});

t.test('Ctrl-C and the end of the input give none', async (t) => {
  const stopped = await answer(t, 'secr\x03');
  t.equal(stopped.result, 'stopped: stopped before a passphrase was given');
  t.notMatch(stopped.screen, /secr/);
  const ended = await answer(t, '\x04');
  t.equal(ended.result, 'refused: no passphrase was given');
});

t.test('without a terminal nobody is asked', async (t) => {
  const { stdout } = await run(
    ['/usr/bin/setsid', '--wait', NODE, '--no-warnings', '--input-type=module', '-e', ASK],
    Buffer.from('y\n'),
    {},
  );
  t.equal(stdout.toString(), 'refused: no terminal to ask at: Passphrase: (give a file)');
});
