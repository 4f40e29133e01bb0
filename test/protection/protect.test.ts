import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { ErrorCode } from '../../src/base/errors.ts';
import { protect } from '../../src/protection/protect.ts';
import type { ProtectMode } from '../../src/protection/settings.ts';
import { isProtected, type Protection, protectionOf } from '../../src/protection/stored.ts';
import { unprotect } from '../../src/protection/unprotect.ts';
import type { ProtectionWorld } from '../../src/protection/world.ts';
import { ownParsec } from '../support/parsec.ts';
import { NO_TPM, protectionWorld } from '../support/protection.ts';
import { strangeParsec } from '../support/strange-parsec.ts';
import { noAbort, ownSwtpm, secretOf } from '../support/tpm.ts';

t.setTimeout(300_000);

const PEM = '-----BEGIN PRIVATE KEY-----\nof this test alone\n-----END PRIVATE KEY-----\n';

interface Machine {
  readonly world: ProtectionWorld;
  /** With best effort. */
  readonly protection: Protection;
  /** What a person is told of the ways that do not work. */
  readonly faults: readonly RegExp[];
}

/** The rows of docs/PROTECTION.md. */
const machines: Readonly<Record<string, (t: Test) => Promise<Machine>>> = {
  async 'Parsec works'(t) {
    const { tcti } = await ownSwtpm(t);
    const { socket } = await ownParsec(t, ['MbedCrypto', { tcti }]);
    return { world: protectionWorld(t, NO_TPM, socket), protection: 'parsec tpm', faults: [] };
  },
  async 'Parsec works, and the TPM'(t) {
    const [{ tcti }, own] = await Promise.all([ownSwtpm(t), ownSwtpm(t)]);
    const { socket } = await ownParsec(t, [{ tcti }]);
    return { world: protectionWorld(t, own.tcti, socket), protection: 'parsec tpm', faults: [] };
  },
  async 'Parsec has its keys on the disk, the TPM works'(t) {
    const { tcti } = await ownSwtpm(t);
    const { socket } = await ownParsec(t, ['MbedCrypto']);
    const faults = [/^parsec: .*expected a provider that keeps keys in a TPM or HSM, got mbed-crypto$/];
    return { world: protectionWorld(t, tcti, socket), protection: 'tpm2', faults };
  },
  async 'Parsec has its keys on the disk'(t) {
    const { socket } = await ownParsec(t, ['MbedCrypto']);
    return {
      world: protectionWorld(t, NO_TPM, socket),
      protection: 'none',
      faults: [/got mbed-crypto$/, /^tpm2: /],
    };
  },
  async 'Parsec is broken, the TPM works'(t) {
    const { tcti } = await ownSwtpm(t);
    const socket = await strangeParsec(t, (connection) => connection.end('garbage'));
    return {
      world: protectionWorld(t, tcti, socket),
      protection: 'tpm2',
      faults: [/^parsec: ping: .*got no response/],
    };
  },
  async 'Parsec dies in the middle, the TPM works'(t) {
    const { tcti } = await ownSwtpm(t);
    const socket = await strangeParsec(t, (connection) => connection.end(Buffer.from('10a7c05e1e00', 'hex')));
    return {
      world: protectionWorld(t, tcti, socket),
      protection: 'tpm2',
      faults: [/ended before the answer did$/],
    };
  },
  async 'Parsec hangs, the TPM works'(t) {
    const { tcti } = await ownSwtpm(t);
    const socket = await strangeParsec(t, () => {});
    return {
      world: protectionWorld(t, tcti, socket),
      protection: 'tpm2',
      faults: [/no answer within 10 s$/],
    };
  },
  async 'Parsec is broken'(t) {
    const socket = await strangeParsec(t, (connection) => connection.destroy());
    return {
      world: protectionWorld(t, NO_TPM, socket),
      protection: 'none',
      faults: [/^parsec: ping: /, /^tpm2: /],
    };
  },
  async 'the TPM works'(t) {
    const { tcti } = await ownSwtpm(t);
    return { world: protectionWorld(t, tcti), protection: 'tpm2', faults: [] };
  },
  async 'the TPM is broken'(t) {
    const swtpm = await ownSwtpm(t);
    await swtpm.stop();
    return { world: protectionWorld(t, swtpm.tcti), protection: 'none', faults: [/^tpm2: /] };
  },
  async none(t) {
    return { world: protectionWorld(t, NO_TPM), protection: 'none', faults: [/^tpm2: /] };
  },
};

/** By its first cell: what the three modes come to. */
const documented = new Map(
  readFileSync(new URL('../../docs/PROTECTION.md', import.meta.url), 'utf8')
    .split('## `protect-with-tpm`')[1]
    ?.split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(1)
    .map((line) => line.slice(2, -2).split(' | '))
    .map(([title = '', ...cells]) => [title, cells]),
);

t.strictSame(
  [...documented.keys()].toSorted(),
  [...Object.keys(machines), 'the TPM is replaced'].toSorted(),
  'each row of docs/PROTECTION.md',
);

for (const [title, machine] of Object.entries(machines)) {
  t.test(title, async (t) => {
    const { world, protection, faults } = await machine(t);
    const outcome = `${protection}${faults.length > 0 ? ', warns' : ''}`;
    const strict = isProtected(protection) ? outcome : 'refuses';
    t.strictSame(documented.get(title), [outcome, strict, 'none']);
    const keep = (mode: ProtectMode) => protect(secretOf(PEM), { mode, method: null }, world, noAbort);

    const best = await keep('best-effort');
    t.equal(best.protection, protection, 'best-effort');
    t.equal(protectionOf(best.bytes), protection, 'by the bytes themselves');
    t.equal(best.bytes.includes('of this test alone'), protection === 'none');
    t.match(best.faults, faults);
    t.equal(best.faults.length, faults.length);
    const opened = await unprotect('/x', best.bytes, 'x', world, noAbort);
    t.equal(opened.reveal().toString(), PEM);

    if (isProtected(protection)) t.equal((await keep('require')).protection, protection, 'require');
    else
      await t.rejects(keep('require'), {
        code: 'refused',
        message: /^nothing protects what would be kept: /,
      });

    const never = await keep('never');
    t.strictSame([never.protection, never.bytes.toString(), never.faults], ['none', PEM, []], 'never');
  });
}

t.test('the TPM is replaced: recognised, and the new one protects', async (t) => {
  t.strictSame(documented.get('the TPM is replaced'), ['tpm2', 'tpm2', 'none']);
  const [before, after] = await Promise.all([ownSwtpm(t), ownSwtpm(t)]);
  const old = protectionWorld(t, before.tcti);
  const now = protectionWorld(t, after.tcti);
  const kept = await protect(secretOf(PEM), { mode: 'require', method: null }, old, noAbort);
  const opens = (world: ProtectionWorld) => unprotect('/etc/x', kept.bytes, 'x', world, noAbort);
  const foreign = {
    code: 'foreign-tpm' satisfies ErrorCode,
    message: /^\/etc\/x: /,
    hint: /invite NAME --rejoin, here fetch-luks-key join --rejoin$/,
  };
  await t.rejects(opens(now), foreign, 'a TPM that has no storage key yet');
  for (const mode of ['best-effort', 'require', 'never'] as const) {
    const again = await protect(secretOf(PEM), { mode, method: null }, now, noAbort);
    t.equal(again.protection, mode === 'never' ? 'none' : 'tpm2', mode);
  }
  await t.rejects(opens(now), foreign, 'a TPM that has one');
  t.equal((await opens(old)).reveal().toString(), PEM, 'nothing was done to what was kept');
  await before.stop();
  await t.rejects(opens(old), { code: 'unavailable', message: /^\/etc\/x: / }, 'no TPM is not another TPM');
});

t.test('what Parsec had is gone: recognised too', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const service = await ownParsec(t, [{ tcti }]);
  const world = protectionWorld(t, NO_TPM, service.socket);
  const kept = await protect(secretOf(PEM), { mode: 'require', method: 'parsec' }, world, noAbort);
  await service.stop();
  await t.rejects(unprotect('/x', kept.bytes, 'x', world, noAbort), { code: 'unavailable' }, 'stopped');
  service.forget();
  await service.start();
  const gone = { code: 'foreign-tpm', message: /has no such key/, hint: /--rejoin/ };
  await t.rejects(unprotect('/x', kept.bytes, 'x', world, noAbort), gone);
});

t.test('one way by name, and no other', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const world = protectionWorld(t, tcti);
  const settings = { mode: 'best-effort', method: 'parsec' } as const;
  const kept = await protect(secretOf(PEM), settings, world, noAbort);
  t.strictSame([kept.protection, kept.faults], ['none', ['parsec: this machine has no Parsec']]);
});

t.test('damaged, or sealed by what does not protect', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const world = protectionWorld(t, tcti);
  const { bytes } = await protect(secretOf(PEM), { mode: 'require', method: null }, world, noAbort);
  const text = bytes.toString();
  const cases = {
    'a changed tag': `${text.trim().slice(0, -4)}AAAA`,
    'a part less': text.split('.').slice(1).join('.'),
    'another pin': `${Buffer.from('{"enc":"A256GCM","alg":"dir","clevis":{"pin":"tang"}}').toString('base64url')}..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA`,
  };
  for (const [title, damaged] of Object.entries(cases)) {
    const opening = unprotect('/x', Buffer.from(damaged), 'x', world, noAbort);
    await t.rejects(opening, { code: 'damaged' }, title);
  }
});
