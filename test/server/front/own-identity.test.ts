import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { identityToPem, makeIdentity } from '../../../src/identity/identity.ts';
import { durableFiles } from '../../../src/os/durable-files.ts';
import { files } from '../../../src/os/files.ts';
import { random } from '../../../src/os/random.ts';
import { ownIdentity } from '../../../src/server/front/own-identity.ts';

const world = { files, durable: durableFiles, random };

function place(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'own-identity-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return join(folder, 'identity.pem');
}

t.test('made at the first start, and for ever the same', async (t) => {
  const path = place(t);
  const first = await ownIdentity(path, 'keys.example', world);
  t.equal(statSync(path).mode & 0o7777, 0o600);
  const bytes = readFileSync(path);
  const second = await ownIdentity(path, 'another name', world);
  t.same(second.pinSha256, first.pinSha256);
  t.same(readFileSync(path), bytes);
  t.same(readdirSync(join(path, '..')), ['identity.pem'], 'nothing else is left');
});

t.test('a start that was cut off leaves no half of one', async (t) => {
  const path = place(t);
  const whole = identityToPem(makeIdentity('x', random));
  writeFileSync(`${path}.new`, whole.subarray(0, 100), { mode: 0o600 });
  const made = await ownIdentity(path, 'keys.example', world);
  t.same((await ownIdentity(path, 'keys.example', world)).pinSha256, made.pinSha256);
  t.same(readFileSync(path).toString().match(/BEGIN/g)?.length, 2);
});

t.test('no file appears before it is whole', async (t) => {
  const path = place(t);
  const steps: string[] = [];
  const durable = {
    ...durableFiles,
    rename(from: string, to: string) {
      steps.push(readFileSync(from, 'utf8'));
      t.throws(() => statSync(to), { code: 'ENOENT' });
      durableFiles.rename(from, to);
    },
  };
  await ownIdentity(path, 'keys.example', { ...world, durable });
  t.match(steps, [/PRIVATE KEY-----\n-----BEGIN CERTIFICATE.*END CERTIFICATE-----\n$/s]);
});

t.test('one that others could read, and one that is damaged, are not used and not replaced', async (t) => {
  const path = place(t);
  await ownIdentity(path, 'keys.example', world);
  chmodSync(path, 0o640);
  await t.rejects(ownIdentity(path, 'keys.example', world), {
    code: 'bad-config',
    message: `${path}: expected mode 0600, got 0640`,
  });
  chmodSync(path, 0o600);
  writeFileSync(path, 'rubbish');
  await t.rejects(ownIdentity(path, 'keys.example', world), { code: 'bad-config' });
  t.equal(readFileSync(path, 'utf8'), 'rubbish');
});

t.test('where nothing can be written', async (t) => {
  await t.rejects(ownIdentity('/proc/no/identity.pem', 'keys.example', world), { code: 'unavailable' });
});
