import { leavesOf, needsPin, opensWith, type Policy, policyText } from './policy.ts';
import type { VolumeFacts } from './volume.ts';

/** One way to open a volume. The volume is as safe as the weakest of them. */
export interface Way {
  /** `2 of {tpm2, remote home}`, `passphrase`, … */
  readonly by: string;
  /** File, URL, or `DEVICE token ID`; null: nothing but a keyslot. */
  readonly where: string | null;
  readonly keyslots: readonly string[];
  /** It takes somebody who knows or holds something: the machine does not open it by itself. */
  readonly needsPerson: boolean;
  /** Of our sealed keys. */
  readonly policy: Policy | null;
  /** Unix time; null: `enroll` has not sealed it, or has not noted when. */
  readonly sealedAtMs: number | null;
}

/** Token types of systemd-cryptenroll(1). */
const otherTokens: Readonly<Record<string, { readonly by: string; readonly needsPerson: boolean }>> = {
  'systemd-tpm2': { by: 'tpm2 of systemd-cryptenroll', needsPerson: false },
  'systemd-recovery': { by: 'recovery key', needsPerson: true },
  'systemd-fido2': { by: 'FIDO2 token', needsPerson: true },
  'systemd-pkcs11': { by: 'PKCS#11 token', needsPerson: true },
};

/**
 * @param fast keyslots with a key derivation for random keys
 * @param ofFile the keyslot that the sealed key in a file opens; null: it is not recorded
 * @param nameOf a key server by its key
 */
export function waysIn(
  { used, unused, url, header, enrolled }: VolumeFacts,
  fast: readonly string[],
  ofFile: string | null,
  nameOf: (server: Buffer) => string | null,
): Way[] {
  const sealed = [...used, ...unused].map(({ where, text, keyslots, policy }): Way => {
    const by = policy === null ? 'a sealed key that cannot be used' : policyText(policy, nameOf);
    const sealedAtMs = enrolled.find(({ sealedKey }) => sealedKey === text)?.sealedAtMs ?? null;
    const opens = keyslots.length === 0 && ofFile !== null ? [ofFile] : keyslots;
    return {
      by,
      where,
      keyslots: opens,
      needsPerson: policy !== null && needsPin(policy),
      policy,
      sealedAtMs,
    };
  });
  const byUrl: Way[] =
    url === null
      ? []
      : [
          {
            by: 'whoever gets it',
            where: url,
            keyslots: [],
            needsPerson: false,
            policy: null,
            sealedAtMs: null,
          },
        ];
  const rest = header?.version === 2 ? [...byTokens(header.metadata)] : [];
  const named = [...sealed, ...rest].flatMap(({ keyslots }) => keyslots);
  const active = header?.version === 2 ? header.metadata.activeKeyslots : [];
  const unnamed = active
    .filter((id) => !named.includes(id))
    .map((id): Way => {
      // A key in a file or behind a URL opens one of these, and nothing says which.
      const by = fast.includes(id) ? 'random key' : 'passphrase';
      return { by, where: null, keyslots: [id], needsPerson: true, policy: null, sealedAtMs: null };
    });
  const luks1: Way[] =
    header?.version === 1
      ? [{ by: 'passphrase', where: null, keyslots: [], needsPerson: true, policy: null, sealedAtMs: null }]
      : [];
  return [...sealed, ...byUrl, ...rest, ...unnamed, ...luks1];
}

type Metadata = Extract<NonNullable<VolumeFacts['header']>, { version: 2 }>['metadata'];

function byTokens({ tokens, activeKeyslots }: Metadata): Way[] {
  return tokens.flatMap(({ type, id, keyslots }) => {
    const known = otherTokens[type];
    const opens = keyslots.filter((slot) => activeKeyslots.includes(slot));
    if (known === undefined || opens.length === 0) return [];
    return [{ ...known, where: `token ${id}`, keyslots: opens, policy: null, sealedAtMs: null }];
  });
}

/** All ways in as one: any of them opens the volume. */
export function effectivePolicy(ways: readonly Way[]): string {
  return ways
    .map(({ by, keyslots }) => (keyslots.length === 0 ? by : `${by} (keyslot ${keyslots.join(', ')})`))
    .join(' or ');
}

export interface Revocable {
  readonly is: boolean;
  readonly because: string;
}

/** Whether key servers can take the volume from this machine: revoked there, nothing opens it but what people hold. */
export function revocable(ways: readonly Way[], nameOf: (server: Buffer) => string | null): Revocable {
  const byItself = ways.filter(({ needsPerson }) => !needsPerson);
  const free = byItself.find(
    ({ policy }) => policy === null || opensWith(policy, ({ pin }) => pin !== 'remote'),
  );
  if (free !== undefined) {
    const place = free.where === null ? '' : ` (${free.where})`;
    return { is: false, because: `${free.by}${place} opens it without a key server` };
  }
  if (byItself.length === 0) return { is: false, because: 'the machine has no way of its own to open it' };
  const servers = byItself
    .flatMap(({ policy }) => (policy === null ? [] : leavesOf(policy)))
    .flatMap((pin) =>
      pin.pin === 'remote' ? [nameOf(pin.server) ?? 'a server that config.yaml does not have'] : [],
    );
  const names = [...new Set(servers)].join(' and ');
  const people = ways
    .filter(({ needsPerson }) => needsPerson)
    .map(({ by, keyslots }) => `${by} (keyslot ${keyslots.join(', ')})`);
  const still =
    people.length === 0
      ? ''
      : `; ${people.join(' and ')} ${people.length === 1 ? 'opens' : 'open'} it all the same`;
  return { is: true, because: `without ${names} this machine does not open it${still}` };
}
