import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { symlinkSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { readLuksHeader } from '../../src/luks/header.ts';
import { freeId, Keyslots, luks2Of } from '../../src/luks/keyslots.ts';
import { clevisTokenOf, clevisTokens } from '../../src/luks/tokens.ts';
import { files } from '../../src/os/files.ts';
import { memoryFiles } from '../../src/os/memory-files.ts';
import { runner } from '../../src/os/processes.ts';
import { addKeyslot, dumpJson, forge, killKeyslot, makeImage, opens, PASSPHRASE } from '../support/luks.ts';
import { vector } from '../support/sealing.ts';
import { noAbort, secretOf } from '../support/tpm.ts';

const folder = t.testdir({});
const ports = { runner, memoryFiles };

/** Everything that cryptsetup was started with. */
function listening() {
  const argv: string[] = [];
  const run: typeof runner.run = (tool, args, options) => {
    argv.push(...args.filter((argument) => typeof argument === 'string'));
    return runner.run(tool, args, options);
  };
  return { argv, ports: { runner: { run }, memoryFiles } };
}

t.test('a keyslot is added, tried and wiped; keys are on no command line', async (t) => {
  const { path } = makeImage(folder, 'one');
  const { argv, ports: heard } = listening();
  const keyslots = new Keyslots(path, heard);
  const key = secretOf('k'.repeat(86));
  await keyslots.add('5', secretOf(PASSPHRASE), key, noAbort);
  t.ok(opens(path, key.reveal()), 'cryptsetup opens it');
  t.ok(await keyslots.opens(key, noAbort));
  t.ok(await keyslots.opens(key, noAbort, '5'));
  t.notOk(await keyslots.opens(key, noAbort, '0'), 'not in that keyslot');
  t.notOk(await keyslots.opens(key, noAbort, '7'), 'no such keyslot');
  t.notOk(await keyslots.opens(secretOf('wrong'), noAbort));
  const kdf = dumpJson(path)?.keyslots?.[5]?.kdf as { type: string; iterations: number };
  t.strictSame([kdf.type, kdf.iterations], ['pbkdf2', 1000]);
  await keyslots.remove('5', noAbort);
  t.notOk(opens(path, key.reveal()));
  await keyslots.remove('5', noAbort);
  t.ok(opens(path, PASSPHRASE));
  t.notMatch(argv.join(' '), /kkk|correct horse/);
});

t.test('the empty passphrase is tried, not taken for none', async (t) => {
  const image = makeImage(folder, 'empty');
  const keyslots = new Keyslots(image.path, ports);
  t.notOk(await keyslots.opens(secretOf(''), noAbort));
  addKeyslot(image, '');
  t.ok(await keyslots.opens(secretOf(''), noAbort));
});

t.test('a token that opens by itself does not stand in for a wrong passphrase', async (t) => {
  const { path } = makeImage(folder, 'by-itself');
  const description = `fetch-luks-key:${randomUUID()}`;
  const key = execFileSync('keyctl', ['padd', 'user', description, '@u'], { input: PASSPHRASE }).toString();
  t.teardown(() => execFileSync('keyctl', ['unlink', key.trim(), '@u']));
  execFileSync('cryptsetup', ['token', 'add', '--key-description', description, path]);
  t.ok(opens(path, 'wrong'), 'cryptsetup takes the token');
  const keyslots = new Keyslots(path, ports);
  t.notOk(await keyslots.opens(secretOf('wrong'), noAbort));
  t.notOk(await keyslots.opens(secretOf(''), noAbort));
  t.ok(await keyslots.opens(secretOf(PASSPHRASE), noAbort));
});

t.test('a token comes out as clevis has it, and goes', async (t) => {
  const { path } = makeImage(folder, 'tokens');
  const keyslots = new Keyslots(path, ports);
  const jwe = vector('made-by-clevis-20-tang');
  await keyslots.addToken('3', clevisTokenOf(jwe, '0'), noAbort);
  t.strictSame(clevisTokens({ version: 2, ...luks2Of(await readLuksHeader(files, path), path) }), [
    { id: '3', jwe },
  ]);
  t.match(execFileSync('clevis', ['luks', 'list', '-d', path]).toString(), /^0: tang '\{"url":/);
  await keyslots.removeToken('3', noAbort);
  await keyslots.removeToken('3', noAbort);
  t.strictSame(dumpJson(path)?.tokens, {});
});

t.test('one clear line for what cannot be', async (t) => {
  const image = makeImage(folder, 'full');
  const keyslots = new Keyslots(image.path, ports);
  const key = secretOf('new');
  const add = (to: Keyslots, slot: string, passphrase = PASSPHRASE) =>
    to.add(slot, secretOf(passphrase), key, noAbort);
  await t.rejects(add(keyslots, '1', 'wrong'), {
    code: 'refused',
    message: `${image.path}: this passphrase opens no keyslot`,
  });
  await t.rejects(add(keyslots, '0'), { code: 'unavailable', message: /luksAddKey: Key slot 0 is full/ });
  const huge = clevisTokenOf(`${'a'.repeat(20_000)}....`, '0');
  await t.rejects(keyslots.addToken('0', huge, noAbort), {
    code: 'refused',
    message: /no room for a token of \d+ bytes/,
    hint: /--file/,
  });
  const small = makeImage(folder, 'small', ['--luks2-keyslots-size', '512k', '--luks2-metadata-size', '16k']);
  addKeyslot(small, 'second');
  await t.rejects(add(new Keyslots(small.path, ports), '2'), {
    code: 'refused',
    message: `${small.path}: no free keyslot`,
  });
  writeFileSync(`${folder}/text`, 'x'.repeat(100_000));
  await t.rejects(add(new Keyslots(`${folder}/text`, ports), '0'), {
    code: 'bad-config',
    message: `${folder}/text: this is not LUKS`,
  });
  symlinkSync('loop2', `${folder}/loop1`);
  symlinkSync('loop1', `${folder}/loop2`);
  await t.rejects(add(new Keyslots(`${folder}/loop1`, ports), '0'), {
    code: 'unavailable',
    message: `${folder}/loop1: cryptsetup luksAddKey: device does not exist or access denied`,
  });
  await t.rejects(readLuksHeader(files, `${folder}/loop1`), {
    code: 'unavailable',
    message: `${folder}/loop1: cannot be read (ELOOP)`,
  });
});

t.test('a read-only image', async (t) => {
  const image = makeImage(folder, 'read-only');
  const at = `${folder}/mounted`;
  writeFileSync(at, '');
  execFileSync('mount', ['--bind', image.path, at]);
  t.teardown(() => execFileSync('umount', [at]));
  execFileSync('mount', ['-o', 'remount,ro,bind', at]);
  const keyslots = new Keyslots(at, ports);
  await t.rejects(keyslots.add('1', secretOf(PASSPHRASE), secretOf('new'), noAbort), {
    code: 'unavailable',
    message: `${at}: cannot be written, is it read-only?`,
  });
  t.ok(await keyslots.opens(secretOf(PASSPHRASE), noAbort), 'to read is enough for a try');
});

t.test('what a header must be', async (t) => {
  const read = async (path: string) => luks2Of(await readLuksHeader(files, path), path);
  const old = makeImage(folder, 'luks1', ['--type', 'luks1']);
  await t.rejects(read(old.path), {
    code: 'bad-config',
    message: /expected LUKS2, got LUKS1/,
    hint: /cryptsetup convert --type luks2/,
  });
  const clear = makeImage(folder, 'clear');
  forge(clear.path, [0, 1], (json) => json.replaceAll('aes-xts-plain64', 'cipher_null-ecb'));
  await t.rejects(read(clear.path), { code: 'refused', message: /expected a cipher, got "cipher_null-ecb"/ });
  await t.rejects(read('/dev/zero'), { code: 'unavailable' });
});

t.test('free ids', async (t) => {
  const image = makeImage(folder, 'ids');
  addKeyslot(image, 'second');
  addKeyslot(image, 'third', ['--unbound', '--key-size', '512']);
  addKeyslot(image, 'fourth');
  killKeyslot(image, 1);
  const { metadata } = luks2Of(await readLuksHeader(files, image.path), image.path);
  t.equal(freeId('keyslot', metadata.keyslots, image.path), '1');
  t.equal(
    freeId('keyslot', [...metadata.keyslots, '1'], image.path),
    '4',
    'one that does not open the data counts',
  );
  const all = Array.from({ length: 32 }, (_, id) => String(id));
  t.throws(() => freeId('token', all, '/x'), {
    code: 'refused',
    message: '/x: no free token: all 32 are taken',
    hint: /token remove/,
  });
});
