import { keyPinText, parseKeyPin } from '../base/key-pin.ts';
import { isObject, type Jwe, parseCompact } from '../jwe/compact.ts';
import { pinHeader } from '../pins/header.ts';
import { tangUrl } from '../pins/tang-server.ts';
import { readHeader } from '../pins/tpm2-header.ts';
import { credentialProtection, type Protection, protectionText } from '../protection/stored.ts';
import type { SealedObject } from '../tpm/tpm.ts';

/** How a sealed key opens: one pin, or so many of several. */
export type Policy =
  | PinPolicy
  | { readonly pin: 'sss'; readonly need: number; readonly of: readonly Policy[] };

/** A pin that asks somebody. */
export type PinPolicy =
  | { readonly pin: 'tpm2'; readonly object: SealedObject }
  | {
      readonly pin: 'tang';
      readonly url: string;
      readonly kid: string;
      readonly crv: 'P-256' | 'P-521';
    }
  /** `server`: SHA-256 of its key's SubjectPublicKeyInfo. */
  | { readonly pin: 'remote'; readonly server: Buffer; readonly kid: string }
  /** `protection`: by what, told by the credential's own bytes. */
  | { readonly pin: 'systemd-creds'; readonly protection: Protection }
  | { readonly pin: 'parsec'; readonly provider: string };

/**
 * @param text a sealed key that `parseSealedKey` has taken: within its limits, and well-formed
 * @throws AppError `damaged`
 */
export function policyOf(text: string): Policy {
  const jwe = parseCompact(text);
  const tpm2 = pinHeader(jwe, 'tpm2', 'dir');
  if (tpm2 !== null) return { pin: 'tpm2', object: readHeader(tpm2) };
  const tang = pinHeader(jwe, 'tang', 'ECDH-ES');
  const kid = String(jwe.header['kid']);
  if (tang !== null) return { pin: 'tang', url: tangUrl(tang['url']) ?? '', kid, crv: curveOf(jwe) };
  const remote = pinHeader(jwe, 'remote', 'ECDH-ES');
  if (remote !== null) {
    return { pin: 'remote', server: parseKeyPin(remote['server']) ?? Buffer.alloc(0), kid };
  }
  const creds = pinHeader(jwe, 'systemd-creds', 'dir');
  if (creds !== null) {
    const credential = Buffer.from(String(creds['credential']), 'base64url');
    return { pin: 'systemd-creds', protection: credentialProtection(credential) };
  }
  const parsec = pinHeader(jwe, 'parsec', 'dir');
  if (parsec !== null) return { pin: 'parsec', provider: String(parsec['provider']) };
  const sss = pinHeader(jwe, 'sss', 'dir') ?? {};
  const shares = Array.isArray(sss['jwe']) ? sss['jwe'] : [];
  return { pin: 'sss', need: Number(sss['t']), of: shares.map((share) => policyOf(String(share))) };
}

function curveOf({ header }: Jwe): 'P-256' | 'P-521' {
  const { epk } = header;
  return isObject(epk) && epk['crv'] === 'P-256' ? 'P-256' : 'P-521';
}

/** Each pin of it that asks somebody. */
export function leavesOf(policy: Policy): PinPolicy[] {
  return policy.pin === 'sss' ? policy.of.flatMap(leavesOf) : [policy];
}

/** Whether somebody has to type a PIN for it to open. */
export function needsPin(policy: Policy): boolean {
  return !opensWith(policy, (pin) => pin.pin !== 'tpm2' || pin.object.pinSalt == null);
}

/** Whether it opens while these pins answer. */
export function opensWith(policy: Policy, answers: (pin: PinPolicy) => boolean): boolean {
  if (policy.pin !== 'sss') return answers(policy);
  return policy.of.filter((one) => opensWith(one, answers)).length >= policy.need;
}

/** `2 of {tpm2, remote home}`. @param nameOf a key server by its key; null = none in config.yaml */
export function policyText(policy: Policy, nameOf: (server: Buffer) => string | null): string {
  switch (policy.pin) {
    case 'tpm2':
      return policy.object.pinSalt == null ? 'tpm2' : 'tpm2 with a PIN';
    case 'systemd-creds':
      return `systemd-creds (${protectionText(policy.protection)})`;
    case 'parsec':
      return `parsec ${policy.provider}`;
    case 'tang':
      return `tang ${policy.url}`;
    case 'remote':
      return `remote ${nameOf(policy.server) ?? `${keyPinText(policy.server).slice(0, 15)}…`}`;
    case 'sss':
      return `${policy.need} of {${policy.of.map((one) => policyText(one, nameOf)).join(', ')}}`;
  }
}
