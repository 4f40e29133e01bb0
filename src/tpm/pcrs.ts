/** Platform configuration registers: which of them, in which bank, with which values. */

interface Hash {
  /** TPM_ALG_ID (TCG Algorithm Registry, table 3). */
  readonly id: number;
  readonly bytes: number;
  /** As node:crypto spells it. */
  readonly node: string;
}

/** The hash algorithms that tpm2-tools and Clevis name. */
export const hashes = {
  sha1: { id: 0x0004, bytes: 20, node: 'sha1' },
  sha256: { id: 0x000b, bytes: 32, node: 'sha256' },
  sha384: { id: 0x000c, bytes: 48, node: 'sha384' },
  sha512: { id: 0x000d, bytes: 64, node: 'sha512' },
  sm3_256: { id: 0x0012, bytes: 32, node: 'sm3' },
} as const satisfies Record<string, Hash>;

export type HashName = keyof typeof hashes;

export const hashNames = Object.keys(hashes) as readonly HashName[];

export function isHashName(value: unknown): value is HashName {
  return typeof value === 'string' && Object.hasOwn(hashes, value);
}

/** A PC client's TPM has 24 (TCG PC Client Platform TPM Profile §4.6). */
export const PCR_COUNT = 24;

export interface PcrSelection {
  readonly bank: HashName;
  /** Ascending and distinct. */
  readonly ids: readonly number[];
}

/**
 * Both spellings that Clevis takes: `"0,7"`, and a list of numbers or of their texts.
 * @returns ascending and distinct; null when `value` is neither or names a PCR that there is not
 */
export function parsePcrIds(value: unknown): number[] | null {
  const items = typeof value === 'string' ? value.replaceAll(/\s/g, '').split(',') : value;
  if (!Array.isArray(items)) return null;
  if (items.length === 1 && items[0] === '') return [];
  const ids = new Set<number>();
  for (const item of items) {
    const text = typeof item === 'number' ? String(item) : item;
    if (typeof text !== 'string' || !/^\d{1,2}$/.test(text) || Number(text) >= PCR_COUNT) return null;
    ids.add(Number(text));
  }
  return [...ids].sort((a, b) => a - b);
}

/** As tpm2-tools takes it: `sha256:0,7`. */
export function selectionText({ bank, ids }: PcrSelection): string {
  return `${bank}:${ids.join(',')}`;
}

/** Size in bytes of the selected PCRs' values, one after the other. */
export function valuesLength({ bank, ids }: PcrSelection): number {
  return ids.length * hashes[bank].bytes;
}

/** The PCRs whose values differ. Both are the selection's values, one after the other, ascending. */
export function differingPcrs({ bank, ids }: PcrSelection, expected: Buffer, actual: Buffer): number[] {
  const { bytes } = hashes[bank];
  const nth = (values: Buffer, index: number) => values.subarray(index * bytes, (index + 1) * bytes);
  return ids.filter((_, index) => !nth(expected, index).equals(nth(actual, index)));
}
