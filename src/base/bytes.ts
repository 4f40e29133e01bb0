/** base64url without padding (RFC 4648 §5, RFC 7515 §2). */
export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

/**
 * Strict base64url: no padding, no other alphabet, no stray bits in the last character, so that each value has
 * one spelling and a flipped bit is never ignored.
 * @returns null when `text` is not that
 */
export function fromBase64url(text: string): Buffer | null {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return null;
  const bytes = Buffer.allocUnsafeSlow(Math.floor((text.length * 3) / 4));
  bytes.write(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : null;
}

/** Unsigned big-endian integer. */
export function bytesToBigInt(bytes: Uint8Array): bigint {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
  return hex === '' ? 0n : BigInt(`0x${hex}`);
}

/** Unsigned big-endian integer of exactly `length` bytes. `value` must fit. */
export function bigIntToBytes(value: bigint, length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  bytes.write(value.toString(16).padStart(length * 2, '0'), 'hex');
  return bytes;
}
