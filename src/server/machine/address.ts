/**
 * An address as bits, IPv4 as the last 32 of `::ffff:0:0/96` (RFC 4291 §2.5.5.2): a listener for both families hands
 * IPv4 peers over in that form.
 * @returns null when `text` is no address
 */
function bitsOf(text: string): bigint | null {
  const [, embedded] = /(?:^|:)(\d+\.\d+\.\d+\.\d+)$/.exec(text) ?? [];
  const four = embedded === undefined ? null : ipv4(embedded);
  if (embedded === text) return four === null ? null : MAPPED | four;
  const words = embedded === undefined ? text : wordsFor(text, embedded, four);
  return words === null ? null : ipv6(words);
}

const MAPPED = 0xffffn << 32n;

/** Dotted decimal without leading zeros: some read those as octal. */
function ipv4(text: string): bigint | null {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return null;
  }
  return parts.reduce((bits, part) => (bits << 8n) | BigInt(part), 0n);
}

function wordsFor(text: string, embedded: string, four: bigint | null): string | null {
  if (four === null) return null;
  const [high, low] = [four >> 16n, four & 0xffffn];
  return `${text.slice(0, -embedded.length)}${high.toString(16)}:${low.toString(16)}`;
}

function ipv6(text: string): bigint | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const [head = [], tail = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const words = [...head, ...Array<string>(missing).fill('0'), ...tail];
  if (!words.every((word) => /^[0-9a-f]{1,4}$/i.test(word))) return null;
  return words.reduce((bits, word) => (bits << 16n) | BigInt(`0x${word}`), 0n);
}

/** A block of addresses (RFC 4632 §3.1). @returns null when `text` is neither an address nor a block */
function blockOf(text: string): { bits: bigint; free: bigint } | null {
  const [, address = '', length] = /^([^/]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const bits = bitsOf(address);
  if (bits === null) return null;
  const longest = address.includes(':') ? 128 : 32;
  const prefix = length === undefined ? longest : Number(length);
  if (prefix > longest) return null;
  const free = BigInt(longest - prefix);
  // Bits beyond the prefix are a slip of the pen more often than not.
  return (bits & ((1n << free) - 1n)) === 0n ? { bits, free } : null;
}

export function isBlock(text: string): boolean {
  return blockOf(text) !== null;
}

/** @param blocks none = all */
export function isAllowedFrom(address: string, blocks: readonly string[]): boolean {
  if (blocks.length === 0) return true;
  const bits = bitsOf(address);
  if (bits === null) return false;
  return blocks.some((text) => {
    const block = blockOf(text);
    return block !== null && bits >> block.free === block.bits >> block.free;
  });
}

/** Whether both are the same address, however they are written. */
export function isSameAddress(one: string, other: string): boolean {
  const bits = bitsOf(one);
  return bits !== null && bits === bitsOf(other);
}
