const msPerUnit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const bytesPerUnit = { B: 1, KiB: 1024, MiB: 1024 * 1024 } as const;

/**
 * A duration with its unit: `250ms`, `90s`, `5m`, `2h`, `1d`; `0` needs none.
 * @returns milliseconds; null when `value` is not that
 */
export function parseDuration(value: unknown): number | null {
  return value === 0 || value === '0' ? 0 : parseQuantity(value, msPerUnit);
}

/**
 * A size with its unit: `512B`, `64KiB`, `1MiB`.
 * @returns bytes; null when `value` is not that
 */
export function parseSize(value: unknown): number | null {
  return parseQuantity(value, bytesPerUnit);
}

function parseQuantity(value: unknown, units: Readonly<Record<string, number>>): number | null {
  if (typeof value !== 'string') return null;
  const [, digits = '', unit = ''] = /^([0-9]+)([A-Za-z]+)$/.exec(value) ?? [];
  const quantity = Number(digits) * (units[unit] ?? Number.NaN);
  return Number.isSafeInteger(quantity) ? quantity : null;
}
