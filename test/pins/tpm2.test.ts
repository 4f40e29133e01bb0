import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { toBase64url } from '../../src/base/bytes.ts';
import { parseCompact } from '../../src/jwe/compact.ts';
import { tpm2 } from '../../src/pins/tpm2.ts';
import type { Tpm } from '../../src/tpm/tpm.ts';
import { openContext, sealContext } from '../support/contexts.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { noAbort, ownFolder, ownSwtpm, secretOf, toolsWith, tpmAt } from '../support/tpm.ts';

const KEY = 'the key of a volume\n';

// Clevis takes its time.
t.setTimeout(300_000);

function nothingNested(): never {
  throw new Error('nothing is nested');
}

interface Machine {
  readonly locks: string;
  readonly swtpm: Swtpm;
  readonly tpm: Tpm;
}

async function machine(t: Test): Promise<Machine> {
  const swtpm = await ownSwtpm(t);
  const locks = ownFolder(t);
  return { swtpm, locks, tpm: tpmAt(swtpm.tcti, locks) };
}

function seal({ tpm }: Machine, config: unknown): Promise<string> {
  return tpm2.seal(config, secretOf(KEY), sealContext({ tpm }));
}

async function open({ tpm }: { tpm: Tpm }, jwe: string): Promise<string> {
  const sealed = tpm2.parse(parseCompact(jwe), nothingNested);
  if (sealed === null) throw new Error('another pin');
  const leftovers: Promise<unknown>[] = [];
  const context = openContext({ tpm, afterwards: (leftover) => void leftovers.push(leftover) });
  const secret = await sealed.open(context, noAbort);
  await Promise.all(leftovers);
  return secret.reveal().toString();
}

function clevisEncrypt({ swtpm }: Machine, config: unknown): string {
  const jwe = swtpm.run('/usr/bin/clevis', ['encrypt', 'tpm2', JSON.stringify(config)], KEY).toString();
  // It leaves its policy session, of which a TPM without a resource manager takes three.
  swtpm.flush();
  return jwe;
}

function clevisDecrypt({ swtpm }: Machine, jwe: string): string {
  const key = swtpm.run('/usr/bin/clevis', ['decrypt'], jwe).toString();
  swtpm.flush();
  return key;
}

function headerOf(jwe: string): Record<string, unknown> {
  return (parseCompact(jwe).header as { clevis: { tpm2: Record<string, unknown> } }).clevis.tpm2;
}

/** The PCRs' values, as `pcr_digest` takes them. */
function pcrDigest(t: Test, { swtpm }: Machine, pcrs: string): string {
  const file = join(ownFolder(t), 'values');
  swtpm.run('tpm2_pcrread', ['-Q', pcrs, '-o', file]);
  return toBase64url(readFileSync(file));
}

t.test('what Clevis encrypts with any of its options is opened', async (t) => {
  const here = await machine(t);
  here.swtpm.extend(7);
  const configs: Record<string, unknown>[] = [
    {},
    { pcr_ids: '7' },
    { pcr_bank: 'sha1', pcr_ids: '0,7' },
    { pcr_bank: 'sha256', pcr_ids: '7, 0 ,4' },
    { pcr_bank: 'sha256', pcr_ids: ['0', '7'] },
    { pcr_bank: 'sha256', pcr_ids: [1, 7] },
    { pcr_bank: 'sha256', pcr_ids: '0,1,2,3,4,5,6,7' },
    { pcr_bank: 'sha256', pcr_ids: '' },
    { hash: 'sha1' },
    { hash: 'sha384', key: 'ecc' },
    { key: 'rsa' },
    { hash: 'sha1', key: 'rsa' },
    { hash: 'sha256', key: 'rsa', pcr_bank: 'sha256', pcr_ids: '7' },
    { pcr_bank: 'sha256', pcr_ids: '7', pcr_digest: pcrDigest(t, here, 'sha256:7') },
    { pcr_bank: 'sha1', pcr_ids: '0,7', pcr_digest: pcrDigest(t, here, 'sha1:0,7') },
    // These Clevis itself cannot open again.
    { hash: 'sha1', pcr_bank: 'sha256', pcr_ids: '7' },
    { hash: 'sha512', key: 'rsa', pcr_bank: 'sha1', pcr_ids: '7' },
  ];
  for (const config of configs) {
    const jwe = clevisEncrypt(here, config);
    const mark = here.swtpm.mark();
    t.equal(await open(here, jwe), KEY, JSON.stringify(config));
    t.notOk(here.swtpm.traffic(mark).includes('A256GCM'), 'nor does the bus see it');
    t.equal(here.swtpm.leftovers(), '');
  }
});

t.test(
  'with "clevis": true, Clevis opens what is sealed with any of its options, and so do we',
  async (t) => {
    const here = await machine(t);
    here.swtpm.extend(7);
    const configs: Record<string, unknown>[] = [
      {},
      { pcr_ids: '7' },
      { pcr_bank: 'sha1', pcr_ids: '0,7' },
      { pcr_ids: ['0', '7'] },
      { pcr_ids: [7, 0] },
      { pcr_ids: [] },
      { hash: 'sha1', key: 'rsa' },
      { hash: 'sha384' },
      { key: 'rsa', pcr_ids: '7' },
      { pcr_ids: '0,7', pcr_digest: pcrDigest(t, here, 'sha256:0,7') },
    ];
    for (const config of configs) {
      const mark = here.swtpm.mark();
      const jwe = await seal(here, { clevis: true, ...config });
      t.notOk(here.swtpm.traffic(mark).includes('A256GCM'));
      t.equal(clevisDecrypt(here, jwe), KEY, JSON.stringify(config));
      t.ok(here.swtpm.traffic(mark).includes('A256GCM'), 'Clevis lets the bus see it: the detector works');
      t.equal(await open(here, jwe), KEY);
      const header = headerOf(jwe);
      const allowed = ['hash', 'jwk_priv', 'jwk_pub', 'key', 'pcr_bank', 'pcr_ids'];
      t.same(
        Object.keys(header).filter((field) => !allowed.includes(field)),
        [],
      );
      t.equal('pcr_bank' in header, 'pcr_ids' in header);
    }
  },
);

t.test('our own form: options, header, and no trace on the bus', async (t) => {
  const here = await machine(t);
  here.swtpm.extend(7);
  const digest = pcrDigest(t, here, 'sha256:0,7');
  const cases: [config: Record<string, unknown>, header: Record<string, unknown>][] = [
    [{}, { pcr_bank: 'sha256', pcr_ids: '7' }],
    [
      { clevis: false, pcr_bank: 'sha1' },
      { pcr_bank: 'sha1', pcr_ids: '7' },
    ],
    [
      { pcr_ids: '7,0', pcr_digest: digest },
      { pcr_bank: 'sha256', pcr_ids: '0,7' },
    ],
    [{ pcr_ids: [0, 7] }, { pcr_bank: 'sha256', pcr_ids: '0,7' }],
    [{ pcr_ids: '' }, { pcr_bank: undefined, pcr_ids: undefined, pcrs: undefined }],
    [{ pcr_ids: [] }, { pcr_bank: undefined, pcr_ids: undefined, pcrs: undefined }],
  ];
  for (const [config, expected] of cases) {
    const mark = here.swtpm.mark();
    const jwe = await seal(here, config);
    t.equal(await open(here, jwe), KEY, JSON.stringify(config));
    const traffic = here.swtpm.traffic(mark);
    t.notOk(traffic.includes('A256GCM'));
    t.notOk(traffic.includes(KEY.trim()));
    const header = headerOf(jwe);
    t.match(header, { srk: String, jwk_pub: String, jwk_priv: String });
    for (const [field, value] of Object.entries(expected)) t.equal(header[field], value, field);
    t.notOk('hash' in header || 'key' in header);
  }
});

t.test('Clevis refuses our own form at once, and does not try the wrong parent', async (t) => {
  const here = await machine(t);
  const jwe = await seal(here, {});
  const mark = here.swtpm.mark();
  t.throws(() => here.swtpm.run('/usr/bin/clevis', ['decrypt'], jwe), /missing required 'hash'/);
  t.equal(here.swtpm.commandCount(mark), 0);
});

t.test('a changed PCR is named by both forms', async (t) => {
  const here = await machine(t);
  const [ours, stock] = [
    await seal(here, { pcr_ids: '7,16' }),
    clevisEncrypt(here, { pcr_bank: 'sha256', pcr_ids: '7,16' }),
  ];
  here.swtpm.extend(16);
  await t.rejects(open(here, ours), { code: 'pcr-mismatch', message: /^PCR 16 \(bank sha256\) changed/ });
  await t.rejects(open(here, stock), { code: 'pcr-mismatch', message: /^one or more of PCRs 7, 16 / });
});

t.test('an unsealed object that is no key, or another one, is damaged', async (t) => {
  const here = await machine(t);
  const [jwe, other] = [await seal(here, { pcr_ids: '' }), await seal(here, { pcr_ids: '' })];
  const [, ...rest] = jwe.split('.');
  const [otherHeader] = other.split('.');
  await t.rejects(open(here, [otherHeader, ...rest].join('.')), {
    code: 'damaged',
    message: /does not authenticate/,
  });
  const k = (bytes: number) => toBase64url(Buffer.alloc(bytes, 1));
  for (const content of [
    '',
    '{',
    'null',
    '"text"',
    '{}',
    `{"kty":"oct","k":"${k(31)}"}`,
    `{"kty":"EC","k":"${k(32)}"}`,
  ]) {
    const tools = toolsWith(t, 'tpm2_unseal', `printf %s '${content}'`);
    const tpm = tpmAt(here.swtpm.tcti, here.locks, tools);
    await t.rejects(open({ tpm }, jwe), { code: 'damaged', message: /holds no key/ }, content);
  }
});

t.test('configurations that are wrong are refused before the TPM is asked', async (t) => {
  const cases: [config: unknown, message: RegExp][] = [
    [null, /config: expected an object/],
    [[], /config: expected an object/],
    [{ pcr_id: '7' }, /pcr_id: expected no field but/],
    [{ clevis: 'yes' }, /clevis: expected true or false, got "yes"/],
    [{ hash: 'sha256' }, /hash: expected nothing, got "sha256"/],
    [{ key: 'ecc' }, /key: expected nothing, got "ecc"/],
    [{ clevis: true, hash: 'md5' }, /hash: expected one of sha1, sha256, .* got "md5"/],
    [{ clevis: true, hash: null }, /hash: expected one of/],
    [{ clevis: true, hash: 'constructor' }, /hash: expected one of/],
    [{ clevis: true, key: 'keyedhash' }, /key: expected one of ecc, rsa, got "keyedhash"/],
    [{ clevis: true, hash: 'sha1', pcr_ids: '7' }, /hash: expected sha256 together with pcr_ids, got "sha1"/],
    [{ pcr_bank: 'sha256;id' }, /pcr_bank: expected one of/],
    [{ pcr_ids: '24' }, /pcr_ids: expected numbers from 0 to 23/],
    [{ pcr_ids: null }, /pcr_ids: expected numbers/],
    [{ pcr_ids: '0,1,2,3,4,5,6,7,8' }, /pcr_ids: expected at most 8 PCRs/],
    [{ pcr_digest: 'AAAA' }, /pcr_digest: expected 32 bytes as base64url, got "AAAA"/],
    [{ pcr_digest: '!' }, /pcr_digest: expected 32 bytes as base64url/],
    [{ pcr_ids: '', pcr_digest: 'AAAA' }, /pcr_digest: expected nothing without pcr_ids/],
  ];
  for (const [config, message] of cases) {
    // The context has no TPM: asking for it would be another error.
    const sealing = tpm2.seal(config, secretOf(KEY), sealContext());
    await t.rejects(sealing, { code: 'bad-config', message }, JSON.stringify(config));
  }
});

t.test('a header that is broken is damaged before the TPM is asked', async (t) => {
  const here = await machine(t);
  const [ours, stock] = [
    headerOf(await seal(here, {})),
    headerOf(await seal(here, { clevis: true, pcr_ids: '7' })),
  ];
  const parse = (fields: Record<string, unknown>, alg = 'dir') => {
    const header = { alg, enc: 'A256GCM', clevis: { pin: 'tpm2', tpm2: fields } };
    const encoded = toBase64url(Buffer.from(JSON.stringify(header)));
    return tpm2.parse(parseCompact(`${encoded}..${'A'.repeat(16)}.AAAA.${'A'.repeat(22)}`), nothingNested);
  };
  t.equal(parse(ours)?.title, 'tpm2');
  t.same(parse(stock)?.uses, [{ pin: 'tpm2' }]);
  t.ok(parse({ ...stock, future: 1 }), 'what Clevis may add is no matter');
  const wrong: [fields: Record<string, unknown>, field: string][] = [
    [{ ...ours, srk: undefined }, 'hash'],
    [{ ...ours, srk: 'AAAA' }, 'srk'],
    [{ ...ours, srk: 7 }, 'srk'],
    [{ ...ours, hash: 'sha256' }, 'hash'],
    [{ ...ours, key: 'ecc' }, 'key'],
    [{ ...ours, pcrs: undefined }, 'pcrs'],
    [{ ...ours, pcrs: null }, 'pcrs'],
    [{ ...ours, pcrs: { 8: 'A'.repeat(43) } }, 'pcrs'],
    [{ ...ours, pcrs: { 7: 'AAAA' } }, 'pcrs'],
    [{ ...ours, jwk_pub: undefined }, 'jwk_pub'],
    [{ ...ours, jwk_pub: ours['jwk_priv'] }, 'jwk_pub'],
    [{ ...ours, jwk_priv: '--help' }, 'jwk_priv'],
    [{ ...ours, jwk_priv: 'a/b+' }, 'jwk_priv'],
    [{ ...stock, hash: 'sha256,sha1' }, 'hash'],
    [{ ...stock, hash: 'toString' }, 'hash'],
    [{ ...stock, key: '-c' }, 'key'],
    [{ ...stock, key: undefined }, 'key'],
    [{ ...stock, pcr_bank: undefined }, 'pcr_bank'],
    [{ ...stock, pcr_bank: 'sha1:1+sha256' }, 'pcr_bank'],
    [{ ...stock, pcr_ids: '7+sha1:1' }, 'pcr_ids'],
    [{ ...stock, pcr_ids: { 0: 1 } }, 'pcr_ids'],
  ];
  for (const [fields, field] of wrong) {
    const error = { code: 'damaged', message: new RegExp(`clevis\\.tpm2\\.${field}: expected`) };
    t.throws(() => parse(fields), error, field);
  }
  t.throws(() => parse(stock, 'ECDH-ES'), { code: 'damaged', message: /alg: expected "dir"/ });
});

t.test('another pin is not ours', async (t) => {
  const header = toBase64url(Buffer.from('{"alg":"dir","enc":"A256GCM","clevis":{"pin":"sss","sss":{}}}'));
  t.equal(
    tpm2.parse(parseCompact(`${header}..${'A'.repeat(16)}.AAAA.${'A'.repeat(22)}`), nothingNested),
    null,
  );
});
