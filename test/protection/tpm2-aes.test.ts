import t from 'tap';
import { protect } from '../../src/protection/protect.ts';
import { unprotect } from '../../src/protection/unprotect.ts';
import type { ProtectionWorld } from '../../src/protection/world.ts';
import { protectionWorld } from '../support/protection.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { noAbort, ownFolder, ownSwtpm, secretOf, toolsWith, tpmAt } from '../support/tpm.ts';

t.setTimeout(300_000);

const PEM = '-----BEGIN PRIVATE KEY-----\nof this test alone\n-----END PRIVATE KEY-----\n';

const keep = (world: ProtectionWorld, mode: 'best-effort' | 'require' = 'require') =>
  protect(secretOf(PEM), { mode, method: 'tpm2-aes' }, world, noAbort);

const open = async (bytes: Buffer, world: ProtectionWorld) =>
  (await unprotect('/x', bytes, 'x', world, noAbort)).reveal().toString();

/** Somebody else's object. */
function occupy(swtpm: Swtpm, handle: string): void {
  swtpm.run('tpm2_createprimary', ['-Q', '-C', 'o', '-G', 'ecc', '-c', `${swtpm.log}.context`]);
  swtpm.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', `${swtpm.log}.context`, handle]);
  swtpm.flush();
}

const persistent = (swtpm: Swtpm) => swtpm.run('tpm2_getcap', ['handles-persistent']).toString().trim();

function headerOf(bytes: Buffer): { handle: number; iv: string; key: string } {
  const header = JSON.parse(Buffer.from(bytes.toString().split('.')[0] ?? '', 'base64url').toString());
  return header.clevis['tpm2-aes'];
}

function withHeader(bytes: Buffer, change: object): Buffer {
  const own = { ...headerOf(bytes), ...change };
  const header = { alg: 'dir', clevis: { pin: 'tpm2-aes', 'tpm2-aes': own }, enc: 'A256GCM' };
  const [, ...rest] = bytes.toString().split('.');
  return Buffer.from([Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.'));
}

t.test('keeps, and opens after the TPM was switched off', async (t) => {
  const swtpm = await ownSwtpm(t);
  const world = protectionWorld(t, swtpm.tcti);
  const { bytes, protection, faults } = await keep(world);
  t.strictSame([protection, faults], ['tpm2-aes', []]);
  t.equal(headerOf(bytes).handle, 0x81000002);
  t.equal(await open(bytes, world), PEM);
  await swtpm.restart();
  t.equal(await open(bytes, world), PEM);
  t.equal(headerOf((await keep(world)).bytes).handle, 0x81000002, 'the key that is there');
  t.equal(persistent(swtpm), '- 0x81000001\n- 0x81000002');
  t.equal(swtpm.leftovers().trim(), '');
});

t.test('nothing of it crosses the bus in clear', async (t) => {
  const swtpm = await ownSwtpm(t);
  const tpm = tpmAt(swtpm.tcti, ownFolder(t));
  const text = 'thirty-two bytes of a secret key';
  const wrapped = await tpm.wrap(secretOf(text), Buffer.alloc(16, 7), noAbort);
  t.equal((await tpm.unwrap(wrapped, noAbort)).reveal().toString(), text);
  t.notOk(swtpm.traffic().includes(text));
  t.ok(swtpm.traffic().includes(Buffer.alloc(16, 7)), 'what may be seen is seen');
});

t.test('somebody else’s objects are left alone', async (t) => {
  const swtpm = await ownSwtpm(t);
  const world = protectionWorld(t, swtpm.tcti);
  occupy(swtpm, '0x81000002');
  const { bytes } = await keep(world);
  t.equal(headerOf(bytes).handle, 0x81000003, 'the next one');
  swtpm.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', '0x81000003']);
  await t.rejects(open(bytes, world), {
    code: 'foreign-tpm',
    message: /0x81000003: expected .*, got nothing$/,
  });
  for (const handle of ['0x81000003', '0x81000004', '0x81000005']) occupy(swtpm, handle);
  await t.rejects(open(bytes, world), {
    code: 'foreign-tpm',
    message: /got another object$/,
    hint: /--rejoin/,
  });

  const before = persistent(swtpm);
  const fallen = await keep(world, 'best-effort');
  t.equal(fallen.protection, 'tpm2');
  t.match(fallen.faults, [
    /^tpm2-aes: TPM handles 0x81000002, 0x81000003, 0x81000004, 0x81000005: expected one that is free, got other objects in all$/,
  ]);
  t.equal(persistent(swtpm), before);
});

t.test('a TPM without TPM2_EncryptDecrypt2', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const tools = toolsWith(t, 'tpm2_getcap', '/usr/bin/tpm2_getcap "$@" | sed s/EncryptDecrypt2/X/');
  const world = { ...protectionWorld(t, tcti), tpm: tpmAt(tcti, ownFolder(t), tools) };
  const { protection, faults } = await keep(world);
  t.strictSame([protection, faults], ['tpm2', ['tpm2-aes: the TPM has no TPM2_EncryptDecrypt2']]);
});

t.test('another TPM, with and without such a key', async (t) => {
  const [one, two] = await Promise.all([ownSwtpm(t), ownSwtpm(t)]);
  const { bytes } = await keep(protectionWorld(t, one.tcti));
  const other = protectionWorld(t, two.tcti);
  await t.rejects(open(bytes, other), { code: 'foreign-tpm', message: /got nothing$/ });
  await keep(other);
  await t.rejects(open(bytes, other), { code: 'foreign-tpm', message: /got another object$/ });
});

t.test('damaged', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const world = protectionWorld(t, tcti);
  const { bytes } = await keep(world);
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ iv: 'AAAA' }, /clevis\.tpm2-aes\.iv: expected base64url/],
    [{ iv: 'A'.repeat(22) }, /content does not authenticate/],
    [{ handle: 0x81000001 }, /clevis\.tpm2-aes\.handle: expected/],
    [{ srk: 'AAAA' }, /clevis\.tpm2-aes\.srk: expected the standard storage key/],
    [{ ciphertext: 7 }, /clevis\.tpm2-aes\.ciphertext: expected base64url .*, got 7$/],
  ];
  for (const [change, message] of cases) {
    await t.rejects(
      open(withHeader(bytes, change), world),
      { code: 'damaged', message },
      JSON.stringify(change),
    );
  }
});
