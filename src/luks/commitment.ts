import { createHmac, timingSafeEqual } from 'node:crypto';
import { fromBase64url, toBase64url } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import type { Secret } from '../base/secret.ts';

/**
 * What a volume's right key is known by, without knowing it: kept on the machine, where who swaps the disk cannot write.
 * A swapped disk brings a sealed key and a passphrase of its own; the machine would open it and boot what is on it.
 */
export interface Commitment {
  /** Of the LUKS header. */
  readonly uuid: string;
  readonly mac: Buffer;
}

/**
 * HMAC-SHA-256 by the key over volume and LUKS UUID: a key of another volume of this machine does not fit either.
 * Only for keys that cannot be guessed, as who reads this may try.
 */
export function commitTo(key: Secret, volume: string, uuid: string): Commitment {
  const mac = createHmac('sha256', key.reveal())
    .update('fetch-luks-key commitment 1\n')
    .update(JSON.stringify([volume, uuid]))
    .digest();
  return { uuid, mac };
}

/** One line, without its end: `UUID MAC`. */
export function commitmentLine({ uuid, mac }: Commitment): string {
  return `${uuid} ${toBase64url(mac)}`;
}

/**
 * The lines of ETC/commitments/VOLUME, one for each key that the volume may have.
 * @throws AppError `damaged`
 */
export function parseCommitments(text: string, path: string): Commitment[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line, index) => {
    const [uuid = '', field = '', ...more] = line.split(' ');
    const mac = fromBase64url(field);
    if (uuid !== '' && mac?.length === 32 && more.length === 0) return { uuid, mac };
    throw new AppError('damaged', `${path}:${index + 1}: expected a UUID and 43 characters of base64url`, {
      hint: 'fetch-luks-key enroll makes it anew; without this file every key that opens is taken',
    });
  });
}

/** @param uuid of the header as it is now; null where there is none to be read */
export function isCommitted(
  commitments: readonly Commitment[],
  key: Secret,
  volume: string,
  uuid: string | null,
): boolean {
  return commitments.some(
    (one) =>
      (uuid === null || one.uuid === uuid) && timingSafeEqual(one.mac, commitTo(key, volume, one.uuid).mac),
  );
}
