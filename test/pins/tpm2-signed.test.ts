import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { toBase64url } from '../../src/base/bytes.ts';
import { parseCompact } from '../../src/jwe/compact.ts';
import { tpm2 } from '../../src/pins/tpm2.ts';
import { openContext, sealContext } from '../support/contexts.ts';
import { diskWith, type Entry, makeSigner, type Signer, signNow } from '../support/policy-signatures.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { noAbort, ownFolder, ownSwtpm, secretOf, tpmAt } from '../support/tpm.ts';

const KEY = 'the key of a volume, of which the bus sees nothing';
const PATH = '/run/systemd/tpm2-pcr-signature.json';

// Clevis, and RSA keys, take their time.
t.setTimeout(300_000);

interface Machine {
  readonly folder: string;
  readonly swtpm: Swtpm;
  readonly signer: Signer;
}

async function machine(t: Test): Promise<Machine> {
  const [swtpm, folder] = [await ownSwtpm(t), ownFolder(t)];
  return { swtpm, folder, signer: makeSigner(folder, 'policy') };
}

function seal({ swtpm, folder, signer }: Machine, config: Record<string, unknown> = {}): Promise<string> {
  const tpm = tpmAt(swtpm.tcti, folder);
  return tpm2.seal({ public_key: signer.publicKey, ...config }, secretOf(KEY), sealContext({ tpm }));
}

/** @param text of tpm2-pcr-signature.json, or what it says; null: there is none */
async function open({ swtpm, folder }: Machine, jwe: string, text: unknown): Promise<string> {
  const disk = diskWith(typeof text === 'string' || text === null ? text : JSON.stringify(text));
  const sealed = tpm2.parse(parseCompact(jwe), () => t.fail('nothing is nested') as never);
  const leftovers: Promise<unknown>[] = [];
  const context = openContext({
    tpm: tpmAt(swtpm.tcti, folder, '/usr/bin', disk),
    afterwards: (leftover) => void leftovers.push(leftover),
  });
  const secret = await sealed?.open(context, noAbort);
  await Promise.all(leftovers);
  return secret?.reveal().toString() ?? '';
}

function signed({ swtpm, folder, signer }: Machine, pcrs = [11], by = signer): Entry {
  return signNow(folder, swtpm, by, pcrs);
}

function headerOf(jwe: string): Record<string, unknown> {
  return (parseCompact(jwe).header as { clevis: { tpm2: Record<string, unknown> } }).clevis.tpm2;
}

t.test('what PCR 11 holds may change when the policy key signs for it', async (t) => {
  const here = await machine(t);
  const jwe = await seal(here);
  const before = signed(here);
  const mark = here.swtpm.mark();
  t.equal(await open(here, jwe, { sha256: [before] }), KEY);
  t.notOk(here.swtpm.traffic(mark).includes(KEY));
  t.ok(here.swtpm.commandCount(mark) > 20, 'the log is being read');
  t.comment(`${here.swtpm.commandCount(mark)} commands`);

  here.swtpm.extend(11);
  await t.rejects(open(here, jwe, { sha256: [before] }), {
    code: 'pcr-mismatch',
    message: `tpm2: PCR 11 (bank sha256) changed: no signature in ${PATH} is for the present values`.slice(6),
    hint: /an update brings signatures/,
  });
  const after = signed(here);
  t.equal(await open(here, jwe, { sha256: [before, after] }), KEY);
  t.equal(here.swtpm.leftovers(), '');
  // PCRs are as at first after a reboot.
  await here.swtpm.restart();
  await t.rejects(open(here, jwe, { sha256: [after] }), { code: 'pcr-mismatch' });
  t.equal(await open(here, jwe, { sha256: [after, before] }), KEY);
});

t.test('PCR 7 is sealed to beside it, and a signature is no way round', async (t) => {
  const here = await machine(t);
  const jwe = await seal(here);
  const header = headerOf(jwe);
  t.match(header, { pcr_ids: '7', pcr_bank: 'sha256', public_key_pcrs: '11' });
  t.same(Object.keys(header['pcrs'] as object), ['7']);
  here.swtpm.extend(7);
  const mark = here.swtpm.mark();
  await t.rejects(open(here, jwe, { sha256: [signed(here), signed(here, [7]), signed(here, [7, 11])] }), {
    code: 'pcr-mismatch',
    message: 'PCR 7 (bank sha256) changed since the key was sealed',
  });
  t.notOk(here.swtpm.traffic(mark).includes(KEY));
  t.equal(here.swtpm.leftovers(), '');
});

t.test('any PCRs may be signed for, alone or beside others', async (t) => {
  const here = await machine(t);
  here.swtpm.extend(4);
  for (const config of [
    { pcr_ids: '', public_key_pcrs: '11' },
    { pcr_ids: '0,7', public_key_pcrs: [4, '11'] },
    { pcr_ids: '7', public_key_pcrs: '0,1,2,3,4,5,8,11' },
  ]) {
    const jwe = await seal(here, config);
    const pcrs = String(config.public_key_pcrs).split(',').map(Number);
    t.equal(await open(here, jwe, { sha256: [signed(here, [9]), signed(here, pcrs)] }), KEY);
    await t.rejects(open(here, jwe, { sha256: [signed(here, [9])] }), {
      code: 'pcr-mismatch',
      message: /the policy key's signatures in .* are for others \(sha256:9\)/,
    });
  }
  const sha1 = await seal(here, { pcr_bank: 'sha1' });
  const entry = signNow(here.folder, here.swtpm, here.signer, [11], 'sha1');
  t.equal(await open(here, sha1, { sha256: [signed(here)], sha1: [entry] }), KEY);
  await t.rejects(open(here, sha1, { sha256: [entry] }), { code: 'pcr-mismatch' });
});

t.test('another key signs in vain', async (t) => {
  const here = await machine(t);
  const jwe = await seal(here);
  const other = makeSigner(here.folder, 'other');
  const byOther = signed(here, [11], other);
  await t.rejects(open(here, jwe, { sha256: [byOther] }), {
    code: 'pcr-mismatch',
    message: `PCR 11 (bank sha256): no signature in ${PATH} is by the policy key sealed to`,
  });
  const { pkfp } = signed(here);
  const mark = here.swtpm.mark();
  await t.rejects(open(here, jwe, { sha256: [{ ...byOther, pkfp }] }), {
    code: 'damaged',
    message: new RegExp(`^${PATH}: a signature is not by the policy key whose fingerprint it carries`),
  });
  t.equal(here.swtpm.leftovers(), '');
  // The header says which key: with the other one's in it, the object's policy is not met.
  const [, ...rest] = jwe.split('.');
  const header = parseCompact(jwe).header as { clevis: { tpm2: Record<string, unknown> } };
  const foreign = headerOf(await seal({ ...here, signer: other }))['public_key'];
  header.clevis.tpm2 = { ...header.clevis.tpm2, public_key: foreign };
  const forged = [toBase64url(Buffer.from(JSON.stringify(header))), ...rest].join('.');
  await t.rejects(open(here, forged, { sha256: [byOther] }), { code: 'damaged' });
  t.notOk(here.swtpm.traffic(mark).includes(KEY));
});

t.test('a signature file that is missing, damaged or of no use says so', async (t) => {
  const here = await machine(t);
  const jwe = await seal(here);
  const entry = signed(here);
  const bad = (change: object) => JSON.stringify({ sha256: [entry, { ...entry, ...change }] });
  await t.rejects(open(here, jwe, null), {
    code: 'pcr-mismatch',
    message: 'PCR 11 (bank sha256): no signed policy, there is no tpm2-pcr-signature.json',
  });
  for (const text of ['', '{', '[]', 'null', '"x"', '{"sha256": 1}', '{"sha256": [7]}']) {
    await t.rejects(open(here, jwe, text), {
      code: 'damaged',
      message: new RegExp(`^${PATH}: (expected|sha256)`),
    });
  }
  for (const change of [
    { pcrs: 11 },
    { pcrs: [24] },
    { pkfp: 'x' },
    { pol: `${entry.pol}00` },
    { sig: null },
  ]) {
    await t.rejects(open(here, jwe, bad(change)), {
      code: 'damaged',
      message: /sha256, entry 2: expected pcrs/,
    });
  }
  for (const sig of ['', 'AAAA', entry.sig.slice(0, -8), `A${entry.sig.slice(1)}`]) {
    await t.rejects(open(here, jwe, { sha256: [{ ...entry, sig }] }), {
      code: 'damaged',
      message: new RegExp(`^${PATH}`),
    });
  }
  for (const text of ['{}', '{"sha256": []}', '{"sha384": [], "future": 1}']) {
    await t.rejects(open(here, jwe, text), { code: 'pcr-mismatch', message: /no signed policy/ });
  }
  t.equal(await open(here, jwe, { future: 1, sha256: [{ ...entry, more: 1 }] }), KEY);
  t.equal(here.swtpm.leftovers(), '');
});

t.test("systemd-measure's own signatures are taken", async (t) => {
  const here = await machine(t);
  const jwe = await seal(here);
  const kernel = join(here.folder, 'linux');
  writeFileSync(kernel, randomBytes(5000));
  const json = execFileSync(
    '/usr/lib/systemd/systemd-measure',
    [
      ...['sign', `--linux=${kernel}`, '--bank=sha256', `--private-key=${here.signer.privateKey}`],
      ...[`--public-key=${here.signer.publicKey}`, `--tpm2-device=${here.swtpm.tcti}`],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  ).toString();
  here.swtpm.flush();
  // What systemd-stub(7) measures of the image, and systemd-pcrphase at each step of the boot.
  const measure = (what: Buffer) => {
    const [sha1, sha256] = ['sha1', 'sha256'].map((hash) => createHash(hash).update(what).digest('hex'));
    here.swtpm.run('tpm2_pcrextend', [`11:sha1=${sha1},sha256=${sha256}`]);
  };
  await t.rejects(open(here, jwe, json), { code: 'pcr-mismatch', message: /^PCR 11 .* changed/ });
  measure(Buffer.from('.linux\0'));
  measure(readFileSync(kernel));
  await t.rejects(open(here, jwe, json), { code: 'pcr-mismatch' });
  for (const phase of ['enter-initrd', 'leave-initrd', 'sysinit', 'ready']) {
    measure(Buffer.from(phase));
    t.equal(await open(here, jwe, json), KEY, phase);
  }
  measure(Buffer.from('shutdown'));
  await t.rejects(open(here, jwe, json), { code: 'pcr-mismatch' });
});

t.test('Clevis refuses it at once', async (t) => {
  const here = await machine(t);
  const jwe = await seal(here);
  const mark = here.swtpm.mark();
  t.throws(() => here.swtpm.run('/usr/bin/clevis', ['decrypt'], jwe), /Command failed/);
  t.notOk(here.swtpm.traffic(mark).includes(KEY));
});

t.test('a wrong configuration is told', async (t) => {
  const here = await machine(t);
  const own = here.signer;
  const small = makeSigner(here.folder, 'small', 1024);
  const junk = join(here.folder, 'junk');
  writeFileSync(junk, '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n');
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ public_key: '/nonexistent' }, /public_key: \/nonexistent: no such file/],
    [{ public_key: 7 }, /public_key: expected the name of a PEM file/],
    [{ public_key: own.privateKey }, /expected an RSA public key of 2048 bits/],
    [{ public_key: small.publicKey }, /expected an RSA public key of 2048 bits/],
    [{ public_key: junk }, /expected an RSA public key of 2048 bits/],
    [{ clevis: true }, /public_key: expected nothing beside "clevis": true/],
    [{ public_key_pcrs: '' }, /public_key_pcrs: expected numbers/],
    [{ public_key_pcrs: '24' }, /public_key_pcrs: expected numbers/],
    [{ public_key_pcrs: '0,1,2,3,4,5,8,9,11' }, /public_key_pcrs: expected at most 8/],
    [{ public_key_pcrs: '7,11' }, /public_key_pcrs: expected no PCR of pcr_ids, got "7"/],
  ];
  for (const [config, message] of cases) await t.rejects(seal(here, config), { code: 'bad-config', message });
  const tpm = tpmAt(here.swtpm.tcti, here.folder);
  await t.rejects(tpm2.seal({ public_key_pcrs: '11' }, secretOf(KEY), sealContext({ tpm })), {
    code: 'bad-config',
    message: /public_key_pcrs: expected nothing without public_key/,
  });
});

t.test('a damaged header is told', async (t) => {
  const here = await machine(t);
  const jwe = await seal(here);
  const { public_key: key } = headerOf(jwe);
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ public_key: '' }, /public_key: expected the modulus/],
    [{ public_key: String(key).slice(4) }, /public_key: expected the modulus/],
    [{ public_key: `AAAA${String(key).slice(4)}` }, /public_key: expected the modulus/],
    [{ public_key: 7 }, /public_key: expected base64url/],
    [{ public_key_pcrs: undefined }, /public_key_pcrs: expected PCRs/],
    [{ public_key_pcrs: '' }, /public_key_pcrs: expected PCRs/],
    [{ public_key_pcrs: '11 --help' }, /public_key_pcrs: expected numbers/],
    [{ srk: undefined, hash: 'sha256', key: 'ecc' }, /public_key: expected nothing without srk/],
  ];
  for (const [change, message] of cases) {
    const { header } = parseCompact(jwe);
    const clevis = { pin: 'tpm2', tpm2: { ...headerOf(jwe), ...change } };
    const text = toBase64url(Buffer.from(JSON.stringify({ ...header, clevis })));
    const parse = () =>
      tpm2.parse(parseCompact([text, ...jwe.split('.').slice(1)].join('.')), () => t.fail('nested') as never);
    t.throws(parse, { code: 'damaged', message });
  }
});
