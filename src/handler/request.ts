import { AppError } from '../base/errors.ts';
import {
  type CredentialName,
  credentialName,
  type UnitName,
  type VolumeName,
  volumeName,
} from '../base/names.ts';

/**
 * What systemd asks for, read from the address that its client bound: NUL, 1 to 16 hex digits, and a suffix
 * (crypttab(5) "AF_UNIX"; systemd.exec(5) `LoadCredential=`).
 */
export type Request =
  | { readonly kind: 'volume'; readonly volume: VolumeName }
  /** An encrypted blob for a hardware token, which never is the plain key. */
  | { readonly kind: 'blob'; readonly token: string; readonly volume: VolumeName }
  | { readonly kind: 'credential'; readonly unit: UnitName; readonly credential: CredentialName };

const ADDRESS = /^\0[0-9a-f]{1,16}\/(cryptsetup|cryptsetup-(?:tpm2|pkcs11|fido2|fido2-salt)|unit)\/(.*)$/s;

/** @throws AppError `bad-request` */
export function parseRequest(peerAddress: Buffer): Request {
  if (peerAddress.length === 0) {
    throw new AppError('bad-request', 'the client bound no address, so nothing says what it asks for', {
      hint: 'try `fetch-luks-key request VOLUME`, which asks as systemd does',
    });
  }
  const [, kind, rest] = ADDRESS.exec(decode(peerAddress)) ?? [];
  if (kind === undefined || rest === undefined) {
    throw new AppError(
      'bad-request',
      `peer address ${shownAddress(peerAddress)}: expected @HEX/cryptsetup/VOLUME or @HEX/unit/UNIT/CREDENTIAL`,
    );
  }
  if (kind === 'cryptsetup') return { kind: 'volume', volume: volumeName(rest) };
  if (kind !== 'unit')
    return { kind: 'blob', token: kind.slice('cryptsetup-'.length), volume: volumeName(rest) };
  const slash = rest.indexOf('/');
  return { kind: 'credential', ...credentialName(rest.slice(0, Math.max(slash, 0)), rest.slice(slash + 1)) };
}

/** Which answer says no to a client without helping it on, by what it seems to ask for, however malformed. */
export type Refusal = 'random' | 'over-long' | 'empty';

/**
 * `random`: a volume's client would try 0 bytes as the empty passphrase. `over-long`: a service would start with an
 * empty credential. `empty`: for a blob, and for what is neither, there is nothing to be tried.
 */
export function refusalFor(peerAddress: Buffer): Refusal {
  const address = peerAddress.toString('latin1');
  const suffix = address.slice(Math.max(address.indexOf('/'), 0));
  if (suffix.startsWith('/cryptsetup/')) return 'random';
  return suffix.startsWith('/unit/') ? 'over-long' : 'empty';
}

function decode(peerAddress: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(peerAddress);
  } catch {
    throw new AppError('bad-request', `peer address ${shownAddress(peerAddress)}: expected UTF-8`);
  }
}

/** One line, whatever the client put into it: `@` for NUL as ss(8) and systemd write it. */
function shownAddress(peerAddress: Buffer): string {
  return JSON.stringify(peerAddress.toString('latin1').replace(/^\0/, '@'));
}
