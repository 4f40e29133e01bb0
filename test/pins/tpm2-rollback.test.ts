import t, { type Test } from 'tap';
import { toBase64url } from '../../src/base/bytes.ts';
import { parseCompact } from '../../src/jwe/compact.ts';
import { tpm2 } from '../../src/pins/tpm2.ts';
import type { RollbackLimit } from '../../src/tpm/counter.ts';
import { openContext, sealContext } from '../support/contexts.ts';
import { diskWith, makeSigner, signNow } from '../support/policy-signatures.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { noAbort, ownFolder, ownSwtpm, secretOf, tpmAt } from '../support/tpm.ts';

const KEY = 'the key of a volume, of which the bus sees nothing';
const COUNTER = '0x01800100';

t.setTimeout(300_000);

class Machine {
  readonly swtpm: Swtpm;
  readonly folder: string;
  signatures: string | null = null;

  constructor(swtpm: Swtpm, folder: string) {
    this.swtpm = swtpm;
    this.folder = folder;
  }

  get tpm() {
    return tpmAt(this.swtpm.tcti, this.folder, '/usr/bin', diskWith(this.signatures));
  }

  seal(config: object = {}): Promise<string> {
    const context = sealContext({ tpm: this.tpm });
    return tpm2.seal({ rollback_counter: COUNTER, ...config }, secretOf(KEY), context);
  }

  async open(jwe: string): Promise<string> {
    const sealed = tpm2.parse(parseCompact(jwe), () => t.fail('nothing is nested') as never);
    const leftovers: Promise<unknown>[] = [];
    const afterwards = (leftover: Promise<unknown>) => void leftovers.push(leftover);
    const secret = await sealed?.open(openContext({ tpm: this.tpm, afterwards }), noAbort);
    await Promise.all(leftovers);
    return secret?.reveal().toString() ?? '';
  }

  retire(jwe: string): Promise<void> {
    return this.tpm.retire(limitOf(jwe), noAbort);
  }
}

async function machine(t: Test): Promise<Machine> {
  return new Machine(await ownSwtpm(t), ownFolder(t));
}

function headerOf(jwe: string): Record<string, unknown> {
  return (parseCompact(jwe).header as { clevis: { tpm2: Record<string, unknown> } }).clevis.tpm2;
}

function limitOf(jwe: string): RollbackLimit {
  const { rollback_counter: index, rollback_limit: limit } = headerOf(jwe);
  return { index: Number(index), limit: BigInt(String(limit)) };
}

function withHeader(jwe: string, change: object): string {
  const { header } = parseCompact(jwe);
  const clevis = { pin: 'tpm2', tpm2: { ...headerOf(jwe), ...change } };
  return [toBase64url(Buffer.from(JSON.stringify({ ...header, clevis }))), ...jwe.split('.').slice(1)].join(
    '.',
  );
}

const RETIRED = {
  code: 'refused',
  message: /this sealed key was retired: the TPM's counter 0x01800100 is past it/,
};

t.test('what was sealed before opens until it is retired, and never after', async (t) => {
  const here = await machine(t);
  const first = await here.seal();
  t.equal(await here.open(first), KEY);
  await here.retire(first);
  t.equal(await here.open(first), KEY);
  await here.retire(first);
  t.equal(await here.open(first), KEY, 'twice is once');

  const second = await here.seal();
  t.equal(await here.open(first), KEY, 'until the new one has been tried');
  t.equal(await here.open(second), KEY);
  const mark = here.swtpm.mark();
  await here.retire(second);
  await t.rejects(here.open(first), RETIRED);
  t.notOk(here.swtpm.traffic(mark).includes(KEY));
  t.equal(await here.open(second), KEY);
  t.notOk(here.swtpm.traffic(mark).includes(KEY));
  t.ok(here.swtpm.commandCount(mark) > 20, 'the log is being read');
  await here.swtpm.restart();
  await t.rejects(here.open(first), RETIRED);
  t.equal(await here.open(second), KEY);
  t.equal(here.swtpm.leftovers(), '');
});

t.test('a counter that is made anew goes on above, and another kind is not taken for it', async (t) => {
  const here = await machine(t);
  const first = await here.seal();
  const second = await (async () => {
    await here.retire(first);
    return await here.seal();
  })();
  await here.retire(second);
  const define = (attributes: string) => {
    here.swtpm.run('tpm2_nvundefine', ['-Q', '-C', 'o', COUNTER]);
    here.swtpm.run('tpm2_nvdefine', ['-Q', '-C', 'o', '-s', '8', '-a', attributes, COUNTER]);
  };
  define('ownerwrite|authread|no_da|nt=counter');
  await t.rejects(here.open(first), { code: 'foreign-tpm', message: /has no counter 0x01800100/ });
  here.swtpm.run('tpm2_nvincrement', ['-C', 'o', COUNTER]);
  await t.rejects(here.open(first), RETIRED);
  // Ordinary memory holds any number, but it is not what was sealed to.
  define('ownerwrite|authread|no_da');
  here.swtpm.run('tpm2_nvwrite', ['-Q', '-C', 'o', '-i', '-', COUNTER], Buffer.alloc(8));
  await t.rejects(here.open(first), { code: 'damaged' });
  await t.rejects(here.seal(), {
    code: 'bad-config',
    message: /expected nothing or our counter at NV index 0x01800100/,
  });
  here.swtpm.run('tpm2_nvundefine', ['-Q', '-C', 'o', COUNTER]);
  await t.rejects(here.open(second), { code: 'foreign-tpm', message: /has no counter/ });
  t.equal(here.swtpm.leftovers(), '');
});

t.test('a higher limit in the header opens nothing, and does not move the counter', async (t) => {
  const here = await machine(t);
  const first = await here.seal();
  await here.retire(first);
  await here.retire(await here.seal());
  const { limit } = limitOf(first);
  const value = () => here.swtpm.run('tpm2_nvread', ['-C', COUNTER, COUNTER]).toString('hex');
  const before = value();
  await t.rejects(here.open(withHeader(first, { rollback_limit: String(limit + 1n) })), { code: 'damaged' });
  await t.rejects(here.open(withHeader(first, { rollback_counter: undefined })), { code: 'damaged' });
  await t.rejects(here.retire(withHeader(first, { rollback_limit: '999999999' })), {
    code: 'damaged',
    message: /the limit of counter 0x01800100: expected at most/,
  });
  t.equal(value(), before);
});

t.test('an old signature opens no old sealed key', async (t) => {
  const here = await machine(t);
  const [old, young] = [makeSigner(here.folder, 'old'), makeSigner(here.folder, 'young')];
  const first = await here.seal({ public_key: old.publicKey });
  const second = await here.seal({ public_key: young.publicKey });
  const both = [old, young].map((signer) => signNow(here.folder, here.swtpm, signer, [11]));
  here.signatures = JSON.stringify({ sha256: both });
  t.equal(await here.open(first), KEY);
  t.equal(await here.open(second), KEY);
  await here.retire(first);
  const third = await here.seal({ public_key: young.publicKey });
  await here.retire(third);
  await t.rejects(here.open(first), RETIRED);
  t.equal(await here.open(third), KEY);
  here.swtpm.extend(7);
  await t.rejects(here.open(third), { code: 'pcr-mismatch', message: /^PCR 7/ });
  const anyState = await here.seal({ public_key: young.publicKey, pcr_ids: '' });
  t.equal(await here.open(anyState), KEY);
  t.equal(await here.open(await here.seal({ pcr_ids: '' })), KEY);
});

t.test('wrong configurations and headers', async (t) => {
  const here = await machine(t);
  for (const value of ['0x01000100', '0x01c00000', '25166080', 25166080, '0x1800100', '']) {
    const message = /rollback_counter: expected an NV index from "0x01800000" to "0x01bfffff"/;
    await t.rejects(here.seal({ rollback_counter: value }), { code: 'bad-config', message });
  }
  await t.rejects(here.seal({ clevis: true }), {
    code: 'bad-config',
    message: /rollback_counter: expected nothing beside "clevis": true/,
  });
  const jwe = await here.seal();
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ rollback_counter: '0x81000001' }, /rollback_counter: expected an NV index/],
    [{ rollback_counter: '0x01800100 -h' }, /rollback_counter: expected an NV index/],
    [{ rollback_limit: 7 }, /rollback_limit: expected a number as text/],
    [{ rollback_limit: '-1' }, /rollback_limit: expected a number as text/],
    [{ rollback_limit: undefined }, /rollback_limit: expected a number as text/],
    [{ srk: undefined, hash: 'sha256', key: 'ecc' }, /rollback_counter: expected nothing without srk/],
  ];
  for (const [change, message] of cases) {
    t.throws(() => tpm2.parse(parseCompact(withHeader(jwe, change)), () => t.fail('nested') as never), {
      code: 'damaged',
      message,
    });
  }
  here.swtpm.run('tpm2_changeauth', ['-Q', '-c', 'owner', 'password']);
  await t.rejects(here.retire(jwe), { code: 'refused', message: /owner hierarchy has a password/ });
});
