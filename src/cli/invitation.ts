import { AppError } from '../base/errors.ts';
import { parseKeyPin } from '../base/key-pin.ts';
import { isServerName } from '../config/server.ts';
import type { OperatorResponses } from '../wire/operator.ts';

/** One line, for `join`. It is as good as a password until it is used, or an hour is over. */
export interface Invitation {
  readonly url: URL;
  /** Of the server's key. */
  readonly pinSha256: Buffer;
  /** Of the machine that is invited. */
  readonly name: string;
  readonly invitation: string;
  /** Of a site, which host's server it is; null: of none. */
  readonly host: string | null;
}

/** @param origin where the machine reaches the server, `https://HOST:PORT` */
export function invitationLine(
  origin: string,
  { pin, name, invitation }: Pick<OperatorResponses['invite'], 'pin' | 'name' | 'invitation'>,
): string {
  return `${origin}/#pin=${pin.slice('sha256/'.length)}&name=${name}&invitation=${invitation}`;
}

/** @returns null when it is not what `invitationLine` makes */
export function parseInvitation(text: string): Invitation | null {
  const url = URL.parse(text.trim());
  const fields = new URLSearchParams(url?.hash.slice(1));
  const pinSha256 = parseKeyPin(`sha256/${fields.get('pin')}`);
  const [name, invitation, host] = [fields.get('name'), fields.get('invitation'), fields.get('host')];
  if (url?.protocol !== 'https:' || pinSha256 === null || name === null) return null;
  if (invitation === null || !/^[\w-]{43}$/.test(invitation)) return null;
  if (host !== null && !isServerName(host)) return null;
  return { url: new URL(url.origin), pinSha256, name, invitation, host };
}

/** The only one in `text`. @throws AppError `usage` */
export function onlyInvitation(text: string): Invitation {
  const invitation = parseInvitation(text);
  if (invitation !== null) return invitation;
  // Not what it is: it may be a secret that was meant for something else.
  throw new AppError('usage', 'join: standard input: expected the line that luks-key-server invite prints', {
    hint: 'it begins with https:// and has pin=, name= and invitation= in it',
  });
}
