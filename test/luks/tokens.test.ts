import { execFileSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { readLuksHeader } from '../../src/luks/header.ts';
import { type ClevisToken, clevisTokens } from '../../src/luks/tokens.ts';
import { files } from '../../src/os/files.ts';
import {
  addKeyslot,
  addToken,
  clevisBind,
  clevisToken,
  forge,
  killKeyslot,
  makeImage,
  opens,
} from '../support/luks.ts';
import { startTang } from '../support/tang.ts';

async function tokensOf(t: Test, path: string): Promise<ClevisToken[]> {
  const header = await readLuksHeader(files, path);
  if (header === null) throw t.fail('not LUKS');
  return clevisTokens(header);
}

/** The sealed key as Clevis' own scripts take it out of a token (clevis_luks_read_slot). */
function asClevisReads(path: string, id: string): string {
  const token = execFileSync('cryptsetup', ['token', 'export', '--token-id', id, path]);
  const jwe = execFileSync('jose', ['fmt', '-j-', '-Og', 'jwe', '-o-'], { input: token });
  return execFileSync('jose', ['jwe', 'fmt', '-i-', '-c'], { input: jwe }).toString();
}

t.test('what clevis luks bind leaves is read as Clevis reads it, and opens the volume', async (t) => {
  const tang = await startTang(t);
  const image = makeImage(t.testdir({}), 'bound');
  clevisBind(image, 'tang', { url: tang.url });
  clevisBind(image, 'sss', { t: 1, pins: { tang: [{ url: tang.url }, { url: tang.url }] } });
  const tokens = await tokensOf(t, image.path);
  t.strictSame(
    tokens.map(({ id }) => id),
    ['0', '1'],
  );
  for (const { id, jwe } of tokens) {
    t.equal(jwe, asClevisReads(image.path, id), `token ${id}`);
    t.ok(opens(image.path, execFileSync('clevis', ['decrypt'], { input: jwe })), `token ${id} opens it`);
  }
});

t.test('only tokens of Clevis whose keyslot opens the data, in the order of their numbers', async (t) => {
  const image = makeImage(t.testdir({}), 'many');
  addKeyslot(image, 'killed');
  addKeyslot(image, 'unbound', ['--unbound', '--key-size', '512']);
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'];
  for (const name of names) addToken(image, clevisToken(['0'], `${name}....`));
  addToken(image, clevisToken(['1'], 'its-keyslot-was-killed....'));
  addToken(image, clevisToken(['1', '0'], 'one-of-two....'));
  addToken(image, clevisToken([], 'none....'));
  addToken(image, { ...clevisToken(['0'], 'other....'), type: 'other' });
  killKeyslot(image, 1);
  t.strictSame(await tokensOf(t, image.path), [
    ...names.map((name, id) => ({ id: `${id}`, jwe: `${name}....` })),
    { id: '13', jwe: 'one-of-two....' },
  ]);
  // cryptsetup ties no token to a keyslot that holds another key; who writes the header himself can.
  forge(image.path, [0, 1], (json) =>
    json.replaceAll('"type":"clevis","keyslots":["0"]', '"type":"clevis","keyslots":["2"]'),
  );
  t.strictSame(await tokensOf(t, image.path), []);
});

t.test('a keyslot that is named but not there', async (t) => {
  const image = makeImage(t.testdir({}), 'forged');
  addToken(image, clevisToken(['0'], 'a.b.c.d.e'));
  t.strictSame(await tokensOf(t, image.path), [{ id: '0', jwe: 'a.b.c.d.e' }]);
  forge(image.path, [0, 1], (json) =>
    json.replace('"type":"clevis","keyslots":["0"]', '"type":"clevis","keyslots":["7"]'),
  );
  t.strictSame(await tokensOf(t, image.path), []);
});

t.test('a token without a sealed key in it gives one that nobody can take for one', async (t) => {
  const image = makeImage(t.testdir({}), 'odd');
  for (const jwe of [undefined, 'text', [1], { protected: 1, iv: {}, tag: 'x' }]) {
    addToken(image, { type: 'clevis', keyslots: ['0'], ...(jwe === undefined ? {} : { jwe }) });
  }
  t.strictSame(
    (await tokensOf(t, image.path)).map(({ jwe }) => jwe),
    ['....', '....', '....', '....x'],
  );
});

t.test('LUKS1 has no tokens', async (t) => {
  const image = makeImage(t.testdir({}), 'old', ['--type', 'luks1']);
  t.strictSame(await tokensOf(t, image.path), []);
});
