import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';

type Callback = Parameters<LookupFunction>[2];

/** Look-ups under way, by name and options. */
const underWay = new Map<string, Callback[]>();

/**
 * getaddrinfo(3), but never twice for the same name at the same time. A look-up cannot be stopped, and one that hangs
 * occupies one of few threads: tried again and again it would take them all, and no other name would be found.
 */
export const lookUp: LookupFunction = (host: string, options: LookupOptions, callback: Callback) => {
  const key = JSON.stringify([host, options.family, options.hints, options.all]);
  const waiting = underWay.get(key);
  if (waiting !== undefined) {
    waiting.push(callback);
    return;
  }
  const callbacks = [callback];
  underWay.set(key, callbacks);
  lookup(host, options, (error, address: string | LookupAddress[], family?: number) => {
    underWay.delete(key);
    for (const each of callbacks) each(error, address, family);
  });
};
