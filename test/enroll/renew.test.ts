import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { BY_STDIN, type Machine, machineWith } from '../support/enrolled.ts';
import { startKeyServer } from '../support/key-server.ts';
import { opens, PASSPHRASE } from '../support/luks.ts';
import { addTangKey, startTang } from '../support/tang.ts';
import { ownSwtpm } from '../support/tpm.ts';

t.setTimeout(300_000);

const tang = await startTang(t);

/** What the socket answers, as text: one's key at a time. */
const keyOf = async (machine: Machine) => (await machine.ask('data')).toString();

async function enrolled(t: Test, machine: Machine, ...args: string[]): Promise<string> {
  const { status, stderr } = await machine.command('enroll', [...args, '-y', ...BY_STDIN]);
  t.equal(status, 0, stderr);
  const key = await keyOf(machine);
  t.ok(opens(machine.image.path, key), 'enrolled');
  return key;
}

t.test('rotate: a new key, and the old one opens nothing any more', async (t) => {
  const machine = await machineWith(t);
  const first = await enrolled(t, machine, '--tang', tang.url);
  const crypttab = readFileSync(machine.crypttab);
  const { status, stdout, stderr } = await machine.command('rotate', [], '');
  t.equal(status, 0, stderr);
  t.match(stdout, /^rotated data in \d\.\d s: tang http:\S+, keyslot 1 → 2, the socket opens it\n$/);
  t.equal(machine.state(), 'keyslots 0,2 tokens 1 enrolled 1 unfinished no');
  const second = await keyOf(machine);
  t.not(second, first);
  t.ok(opens(machine.image.path, second));
  t.notOk(opens(machine.image.path, first), 'the old key');
  t.ok(readFileSync(machine.crypttab).equals(crypttab));
  t.equal(readFileSync(`${machine.etc}/commitments/data`, 'utf8').split('\n').length, 2);
  t.match(await machine.json('rotate', ['--unlock-key-file', '-']), { 'old-keyslot': 2, keyslot: 1 });
  addTangKey(tang.database, 'later', { alg: 'ES512' });
  t.match(
    await machine.json('rotate'),
    { 'old-keyslot': 1, keyslot: 2 },
    'the key that was trusted signs too',
  );
});

t.test('rotate of a key in a file, and unenroll gives back what was before', async (t) => {
  const machine = await machineWith(t);
  const crypttab = readFileSync(machine.crypttab);
  const first = await enrolled(t, machine, '--tang', tang.url, '--file');
  t.match(await machine.json('rotate'), { 'old-keyslot': 1, keyslot: 2, 'proven-by': 'socket' });
  t.notOk(opens(machine.image.path, first));
  t.ok(await machine.opensBySocket());
  const { status, stdout, stderr } = await machine.command('unenroll', BY_STDIN);
  t.equal(status, 0, stderr);
  t.equal(stdout, 'unenrolled data: keyslot 2 is wiped; the passphrase opens it\n');
  t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');
  t.notOk(existsSync(`${machine.etc}/volumes/data.jwe`));
  t.notOk(existsSync(`${machine.etc}/commitments/data`));
  t.ok(readFileSync(machine.crypttab).equals(crypttab));
  t.ok(opens(machine.image.path, PASSPHRASE));
});

t.test('rotate --all goes on after a failure', async (t) => {
  const machine = await machineWith(t);
  await enrolled(t, machine, '--tang', tang.url);
  const places = ['--etc', machine.etc, '--crypttab', machine.crypttab];
  const gone = readFileSync(`${machine.etc}/enrolled/data.json`, 'utf8').replaceAll('"data"', '"aaa"');
  writeFileSync(`${machine.etc}/enrolled/aaa.json`, gone.replaceAll(machine.image.path, '/no/such'));
  const { status, stdout, stderr } = await fetchLuksKey(['rotate', '--all', '--json', ...places], '');
  t.equal(status, 5, stderr);
  t.match(stderr, /^fetch-luks-key: aaa: .*\/no\/such/m);
  t.match(JSON.parse(stdout), { volume: 'data', keyslot: 2 });
});

t.test('reseal after an update: the same key while another pin opens it', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  const first = await enrolled(t, machine, '--tpm2', '--tang', tang.url, '--require', '1');
  tpm.extend(7);
  t.equal(await keyOf(machine), first, 'tang opens it');
  const { status, stdout, stderr } = await machine.command('reseal', [], '');
  t.equal(status, 0, stderr);
  t.match(
    stdout,
    /^resealed data in \d\.\d s: 1 of \{tpm2, tang \S+\}, keyslot 1 as before, the socket opens/,
  );
  t.equal(machine.state(), 'keyslots 0,1 tokens 1 enrolled 1 unfinished no');
  await tang.stop();
  t.equal(await keyOf(machine), first, 'tpm2 opens it');
  await tang.start();
  const other = await machine.json('reseal', ['--tpm2', '--tang', tang.url, '-y']);
  t.match(other, { policy: `2 of {tpm2, tang ${tang.url}}`, keyslot: 1, 'old-keyslot': 1 }, 'another way');
  t.equal(await keyOf(machine), first);
});

t.test('reseal after an update: by passphrase, with a new key', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  const first = await enrolled(t, machine, '--tpm2');
  tpm.extend(7);
  t.notOk(await machine.opensBySocket());
  fails(t, 'nobody to ask', await machine.command('rotate', [], ''), 4, /^no terminal to ask at: Passphrase/);
  const { status, stdout, stderr } = await machine.command('reseal', BY_STDIN);
  t.equal(status, 0, stderr);
  t.match(stderr, /^note: a new key takes its place, as the sealed one does not open: .*PCR 7/);
  t.match(stdout, /keyslot 1 → 2, the socket opens it\n$/);
  t.equal(machine.state(), 'keyslots 0,2 tokens 1 enrolled 1 unfinished no');
  t.ok(await machine.opensBySocket());
  t.notOk(opens(machine.image.path, first));
});

t.test('a key server: its old keys go with the keyslots', async (t) => {
  const server = await startKeyServer(t);
  const machine = await machineWith(t);
  const invitation = await server.invite('nas');
  const joined = await fetchLuksKey(['join', '--name', 'home', '--etc', machine.etc], invitation);
  t.equal(joined.status, 0, joined.stderr);
  await enrolled(t, machine, '--remote', 'home');
  const keys = async () => /keys +(\d+)/.exec((await server.command('show', 'nas')).stdout)?.[1];
  t.equal(await keys(), '1');
  t.match(await machine.json('rotate'), { keyslot: 2 });
  t.equal(await keys(), '1');
  t.ok(await machine.opensBySocket());
  t.match(await machine.json('reseal'), { keyslot: 2, 'old-keyslot': 2 });
  t.ok(await machine.opensBySocket());
  await server.stop();
  const { status, stderr } = await machine.command('unenroll', BY_STDIN);
  t.equal(status, 0, stderr);
  t.match(stderr, /^note: key [\w-]{43} stays at server home, of no use to anybody: .*refused/);
  t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');
});

t.test('units that the first volume has enabled are the other’s to disable, once it is alone', async (t) => {
  const machine = await machineWith(t);
  await enrolled(t, machine, '--tang', tang.url);
  const path = `${machine.etc}/enrolled/data.json`;
  const [record] = JSON.parse(readFileSync(path, 'utf8'));
  const units = (name: string, all: readonly string[]) =>
    writeFileSync(
      `${machine.etc}/enrolled/${name}.json`,
      JSON.stringify([{ ...record, volume: name, units: all }]),
    );
  units('data', ['a.socket', 'b.target']);
  units('other', ['a.socket']);
  // What a power cut left while the file was being written.
  writeFileSync(`${path}.0123456789abcdef.new`, '[');
  const { status, stderr } = await machine.command('unenroll', BY_STDIN);
  t.equal(status, 0, stderr);
  t.match(JSON.parse(readFileSync(`${machine.etc}/enrolled/other.json`, 'utf8')), [
    { volume: 'other', units: ['a.socket', 'b.target'] },
  ]);
});

t.test('unenroll wipes nothing that is not its own, and not the last way in', async (t) => {
  const machine = await machineWith(t);
  fails(
    t,
    'nothing enrolled',
    await machine.command('unenroll', BY_STDIN),
    3,
    /^data: enroll has made no key for it \(hint/,
  );
  const key = await enrolled(t, machine, '--tang', tang.url);
  fails(t, 'wrong', await machine.command('unenroll', BY_STDIN, 'x'), 4, /this passphrase opens no keyslot/);
  fails(t, 'its own key', await machine.command('unenroll', BY_STDIN, key), 4, /opens no keyslot/);
  const cryptsetup = (args: string[], input: string) => execFileSync('cryptsetup', args, { input });
  cryptsetup(['luksKillSlot', '-q', '--key-file', '-', machine.image.path, '0'], key);
  fails(t, 'the last', await machine.command('unenroll', BY_STDIN), 4, /the data would be lost \(hint: add/);
  const { path } = machine.image;
  const cheap = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
  writeFileSync(`${machine.etc}/pass`, 'another');
  const add = ['luksAddKey', '-q', ...cheap, '--key-file', '-', path, `${machine.etc}/pass`];
  cryptsetup([...add, '--key-slot', '0'], key);
  cryptsetup(['luksKillSlot', '-q', '--key-file', `${machine.etc}/pass`, path, '1'], '');
  writeFileSync(`${machine.etc}/third`, 'third');
  const third = ['luksAddKey', '-q', ...cheap, '--key-file', `${machine.etc}/pass`, path];
  cryptsetup([...third, `${machine.etc}/third`, '--key-slot', '1'], '');
  const crypttab = readFileSync(machine.crypttab, 'utf8').replace('# ours', '# mine');
  writeFileSync(machine.crypttab, crypttab);
  const { status, stderr } = await machine.command('unenroll', BY_STDIN, 'another');
  t.equal(status, 0, stderr);
  t.match(stderr, /^note: \S+crypttab:3: changed since, so it goes on naming the socket$/m);
  t.equal(readFileSync(machine.crypttab, 'utf8'), crypttab);
  t.ok(opens(path, 'third'), 'what somebody has put into the same keyslot since');
});
