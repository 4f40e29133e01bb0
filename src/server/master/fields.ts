/**
 * Fields as one run of bytes that has one reading: each is led by its length (32 bits, big endian), so that no two
 * different lists come out alike.
 */
export function fields(...parts: readonly (string | number | Uint8Array)[]): Buffer {
  const pieces: Buffer[] = [];
  for (const part of parts) {
    const bytes = typeof part === 'object' ? Buffer.from(part) : Buffer.from(String(part));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    pieces.push(length, bytes);
  }
  return Buffer.concat(pieces);
}
