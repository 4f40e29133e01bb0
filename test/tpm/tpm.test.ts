import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { SealedObject, SealPlan, Tpm } from '../../src/tpm/tpm.ts';
import { noAbort, ownFolder, ownSwtpm, secretOf, toolsWith, tpmAt } from '../support/tpm.ts';

t.setTimeout(300_000);

const SECRET = 'a secret that is easily found';

const SRK = '0x81000001';
const SRK_ARGS = [
  ...['-Q', '-C', 'o', '-g', 'sha256', '-G', 'ecc256:aes128cfb', '-a'],
  'restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda',
];

function pcrs(...ids: number[]): SealPlan['pcrs'] {
  return { selection: { bank: 'sha256', ids }, values: null };
}

const clevisParent = { kind: 'primary', hash: 'sha256', key: 'ecc' } as const;
const parents = ['storage-key', clevisParent] as const;

function seal(
  tpm: Tpm,
  parent: SealPlan['parent'],
  binding: SealPlan['pcrs'] = pcrs(7),
): Promise<SealedObject> {
  return tpm.seal(secretOf(SECRET), { parent, pcrs: binding }, noAbort);
}

/** @returns the secret, once nothing is left in the TPM */
async function unseal(tpm: Tpm, object: SealedObject): Promise<string> {
  const { secret, settled } = await tpm.unseal(object, noAbort);
  await settled;
  return secret.reveal().toString();
}

async function setUp(t: Test) {
  const swtpm = await ownSwtpm(t);
  return { swtpm, tpm: tpmAt(swtpm.tcti, ownFolder(t)) };
}

t.test(
  'a secret comes back, also after a reboot; nothing is left in the TPM; the bus never sees it',
  async (t) => {
    const { swtpm, tpm } = await setUp(t);
    for (const parent of parents) {
      for (const binding of [pcrs(7), pcrs(0, 2, 7), null]) {
        const mark = swtpm.mark();
        const object = await seal(tpm, parent, binding);
        t.equal(await unseal(tpm, object), SECRET);
        await swtpm.restart();
        t.equal(await unseal(tpm, object), SECRET);
        t.equal(swtpm.leftovers(), '');
        t.ok(swtpm.commandCount(mark) > 20, 'the log is being read');
        t.notOk(swtpm.traffic(mark).includes(SECRET));
      }
    }
  },
);

t.test('the detector finds what crosses the bus in clear', async (t) => {
  const { swtpm } = await setUp(t);
  const folder = ownFolder(t);
  const at = (name: string) => join(folder, name);
  const mark = swtpm.mark();
  swtpm.run('tpm2_createprimary', ['-Q', '-c', at('primary')]);
  swtpm.run('tpm2_create', ['-Q', '-C', at('primary'), '-u', at('pub'), '-r', at('priv'), '-i-'], SECRET);
  t.ok(swtpm.traffic(mark).includes(SECRET));
});

t.test('unsealing takes at most 19 TPM commands, encrypted session included', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const object = await seal(tpm, 'storage-key');
  // A bare TPM needs a flush of transient objects besides, which no resource manager does: leave it out.
  const script = '[ "$1" = -t ] || exec /usr/bin/tpm2_flushcontext "$@"';
  const tools = toolsWith(t, 'tpm2_flushcontext', script);
  const mark = swtpm.mark();
  t.equal(await unseal(tpmAt(swtpm.tcti, ownFolder(t), tools), object), SECRET);
  const count = swtpm.commandCount(mark);
  t.ok(count <= 19, `${count} commands`);
  t.comment(`${count} commands`);
});

t.test('the storage key is made when absent, and used when it is there', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const persistent = () => swtpm.run('tpm2_getcap', ['handles-persistent']).toString();
  t.equal(persistent(), '');
  const first = await seal(tpm, 'storage-key');
  t.match(persistent(), SRK);
  const second = await seal(tpm, 'storage-key');
  t.same(second.parent, first.parent);
  await seal(tpm, clevisParent);
  t.equal(persistent().trim(), `- ${SRK}`);
});

/** Puts a key of the same template at the storage key's handle: `more` makes it another one. */
function substitute(t: Test, swtpm: Awaited<ReturnType<typeof ownSwtpm>>, more: string[], input = ''): void {
  const context = join(ownFolder(t), 'other');
  swtpm.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', SRK]);
  swtpm.run('tpm2_createprimary', [...SRK_ARGS, '-c', context, ...more], input);
  swtpm.flush();
  swtpm.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', context, SRK]);
  swtpm.flush();
}

t.test('another key at the handle fails closed', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const object = await seal(tpm, 'storage-key');
  const stock = await seal(tpm, clevisParent);
  substitute(t, swtpm, ['-u', '-'], 'x'.repeat(64));
  await t.rejects(unseal(tpm, object), { code: 'foreign-tpm', hint: /seal this one again/ });
  const mark = swtpm.mark();
  await t.rejects(seal(tpm, 'storage-key'), {
    code: 'foreign-tpm',
    message: /handle 0x81000001: expected the standard ECC storage key/,
    hint: /"clevis": true/,
  });
  t.notOk(swtpm.traffic(mark).includes(SECRET));
  t.equal(await unseal(tpm, stock), SECRET, 'what Clevis seals does not use it');
  t.equal(swtpm.leftovers(), '');
});

t.test('the standard key with a password in its way, or gone, fails closed', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const object = await seal(tpm, 'storage-key');
  substitute(t, swtpm, ['-p', 'password']);
  await t.rejects(unseal(tpm, object), { code: 'foreign-tpm' });
  await t.rejects(seal(tpm, 'storage-key'), { code: 'foreign-tpm' });
  swtpm.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', SRK]);
  await t.rejects(unseal(tpm, object), { code: 'foreign-tpm', message: /no storage key at 0x81000001/ });
  t.equal(swtpm.leftovers(), '');
  await seal(tpm, 'storage-key');
  t.equal(await unseal(tpm, object), SECRET, 'and opens again once the key is back');
});

t.test('another TPM does not open it', async (t) => {
  const [first, second] = [await setUp(t), await setUp(t)];
  for (const parent of parents) {
    const object = await seal(first.tpm, parent);
    await seal(second.tpm, parent);
    await t.rejects(unseal(second.tpm, object), { code: 'foreign-tpm' });
    t.equal(second.swtpm.leftovers(), '');
  }
});

t.test('a damaged object is not opened', async (t) => {
  const { tpm } = await setUp(t);
  const object = await seal(tpm, 'storage-key');
  const flip = (bytes: Buffer, at: number) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
  for (const at of [5, 20, object.privateArea.length - 1]) {
    const damaged = { ...object, privateArea: flip(object.privateArea, at) };
    await t.rejects(unseal(tpm, damaged), { code: /^(foreign-tpm|damaged)$/ }, `private, byte ${at}`);
  }
  for (const at of [5, 9, 20, object.publicArea.length - 1]) {
    const damaged = { ...object, publicArea: flip(object.publicArea, at) };
    await t.rejects(unseal(tpm, damaged), { code: /^(foreign-tpm|damaged)$/ }, `public, byte ${at}`);
  }
});

t.test('PCRs in the header that are not those of the object are damage, not a mismatch', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const [bound, free] = [await seal(tpm, 'storage-key'), await seal(tpm, 'storage-key', null)];
  await t.rejects(unseal(tpm, { ...bound, pcrs: null }), {
    code: 'damaged',
    message: /has a policy of which/,
  });
  await t.rejects(unseal(tpm, { ...free, pcrs: bound.pcrs }), {
    code: 'damaged',
    message: /not that of PCRs sha256:7/,
  });
  t.equal(swtpm.leftovers(), '');
});

t.test('a changed PCR is named where that can be told', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const [two, stockTwo] = [
    await seal(tpm, 'storage-key', pcrs(7, 16)),
    await seal(tpm, clevisParent, pcrs(7, 16)),
  ];
  const [one, stockOne] = [await seal(tpm, 'storage-key', pcrs(16)), await seal(tpm, clevisParent, pcrs(16))];
  const other = await seal(tpm, 'storage-key', pcrs(7));
  swtpm.extend(16);
  const certain = {
    code: 'pcr-mismatch',
    message: /^PCR 16 \(bank sha256\) changed/,
    hint: /seal this one again/,
  };
  for (const object of [one, stockOne, two]) await t.rejects(unseal(tpm, object), certain);
  // Clevis' header does not tell the values; an object fresh from sealing would.
  const asClevisTells = {
    ...stockTwo,
    pcrs: { selection: { bank: 'sha256', ids: [7, 16] }, values: null },
  } as const;
  await t.rejects(unseal(tpm, asClevisTells), {
    code: 'pcr-mismatch',
    message: /^one or more of PCRs 7, 16 \(bank sha256\) changed/,
  });
  t.equal(await unseal(tpm, other), SECRET);
  t.equal(swtpm.leftovers(), '');
});

t.test('values can be given in advance', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const file = join(ownFolder(t), 'values');
  swtpm.extend(16);
  swtpm.run('tpm2_pcrread', ['-Q', 'sha256:7,16', '-o', file]);
  const values = readFileSync(file);
  await swtpm.restart();
  const selection = { bank: 'sha256', ids: [7, 16] } as const;
  const object = await seal(tpm, 'storage-key', { selection, values });
  await t.rejects(unseal(tpm, object), { code: 'pcr-mismatch', message: /^PCR 16 / });
  swtpm.extend(16);
  t.equal(await unseal(tpm, object), SECRET);
});

t.test('a PCR bank that is switched off, or that the TPM lacks, is not sealed to', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  swtpm.run('tpm2_pcrallocate', ['-Q', 'sha256:all+sha1:none']);
  await swtpm.restart();
  for (const bank of ['sha1', 'sm3_256'] as const) {
    const binding = { selection: { bank, ids: [7] }, values: null };
    await t.rejects(seal(tpm, 'storage-key', binding), {
      code: 'bad-config',
      message: new RegExp(`bank ${bank}`),
    });
  }
  const parent = { kind: 'primary', hash: 'sm3_256', key: 'ecc' } as const;
  await t.rejects(seal(tpm, parent, null), { code: 'bad-config', message: /hash algorithm not supported/ });
});

t.test('lockout is named with its end, and does not concern our own parent', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const [ours, stock] = [await seal(tpm, 'storage-key'), await seal(tpm, clevisParent)];
  swtpm.run('tpm2_dictionarylockout', ['--setup-parameters', '--max-tries=1', '--recovery-time=600']);
  const context = join(ownFolder(t), 'guarded');
  swtpm.run('tpm2_createprimary', ['-Q', '-c', context, '-p', 'right']);
  const guess = ['-Q', '-C', context, '-P', 'wrong', '-u', '/dev/null', '-r', '/dev/null', '-i-'];
  t.throws(() => swtpm.run('tpm2_create', guess, 'x'));
  swtpm.flush();
  await t.rejects(unseal(tpm, stock), {
    code: 'unavailable',
    message: /in lockout after 1 failed authorizations of at most 1: it ends within 600 s/,
    hint: /--clear-lockout/,
  });
  t.equal(await unseal(tpm, ours), SECRET);
  swtpm.run('tpm2_dictionarylockout', ['--clear-lockout']);
  t.equal(await unseal(tpm, stock), SECRET);
  t.equal(swtpm.leftovers(), '');
});

t.test("the owner's password is not asked for but named", async (t) => {
  const { swtpm, tpm } = await setUp(t);
  swtpm.run('tpm2_changeauth', ['-Q', '-c', 'owner', 'password']);
  for (const parent of parents) {
    await t.rejects(seal(tpm, parent), { code: 'refused', message: /owner hierarchy has a password/ });
  }
});

t.test('no TPM is unavailable, until it is there again', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const object = await seal(tpm, 'storage-key');
  await swtpm.stop();
  const absent = { code: 'unavailable', message: /^no TPM at swtpm:host=127\.0\.0\.1,port=\d+ \(.*refused/ };
  await t.rejects(unseal(tpm, object), absent);
  await t.rejects(unseal(tpm, object), absent, 'also when the try before could not clean up');
  await swtpm.restart();
  t.equal(await unseal(tpm, object), SECRET);
  const elsewhere = tpmAt('device:/nonexistent/tpmrm0', ownFolder(t));
  await t.rejects(unseal(elsewhere, object), {
    code: 'unavailable',
    message: /^no TPM at device:\/nonexistent\/tpmrm0 \(.*No such file/,
  });
});

t.test('a TPM that others have filled up is unavailable, and is left as it was', async (t) => {
  const { swtpm, tpm } = await setUp(t);
  const object = await seal(tpm, 'storage-key', null);
  for (let i = 0; i < 3; i++) swtpm.run('tpm2_createprimary', ['-Q', '-c', '/dev/null']);
  await t.rejects(unseal(tpm, object), {
    code: 'unavailable',
    message: /no room in the TPM for another object/,
  });
});

t.test('several at once take turns', async (t) => {
  const swtpm = await ownSwtpm(t);
  const locks = ownFolder(t);
  const object = await seal(tpmAt(swtpm.tcti, locks), 'storage-key');
  // Each with what a process of its own would have.
  const results = await Promise.all(
    Array.from({ length: 6 }, () => unseal(tpmAt(swtpm.tcti, locks), object)),
  );
  t.same(results, Array(6).fill(SECRET));
  t.equal(swtpm.leftovers(), '');
});
