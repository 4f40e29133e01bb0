/** Where a server listens. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * `[::]:7443`, `192.0.2.1:7443`, `localhost:7443`.
 * @returns null when `value` is not that
 */
export function parseListenAddress(value: unknown): ListenAddress | null {
  if (typeof value !== 'string') return null;
  const [, bracketed, plain, port = ''] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(value) ?? [];
  const host = bracketed ?? plain;
  return host === undefined || Number(port) > 65_535 ? null : { host, port: Number(port) };
}
