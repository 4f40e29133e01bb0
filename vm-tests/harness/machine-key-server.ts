import { existsSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { type KeyServerProcess, startKeyServer } from '../../test/support/key-server.ts';
import { HOST } from './machine-network.ts';

/** A key server on the host's loopback, and how a guest with `network` deals with it. */

interface Teardown {
  teardown(action: () => unknown): unknown;
}

/** A real luks-key-server that goes and comes, and an invitation for the guest `nas`. */
export async function hostLuksKeyServer(
  t: Teardown,
): Promise<KeyServerProcess & { readonly invitation: string; readonly urlInGuest: string }> {
  const server = await startKeyServer(t);
  const urlInGuest = server.url.replace('127.0.0.1', HOST);
  return { ...server, urlInGuest, invitation: await server.invite('nas', '--url', urlInGuest) };
}

/** What the guest tells the host while it runs: `tellHost` in its script. */
export interface Told {
  readonly port: number;
  /** When the host's clock heard it, `performance.now()`. */
  heard(word: string, signal: AbortSignal): Promise<number>;
  /** The whole of what it told, once it told something that begins so. */
  heardOf(start: string, signal: AbortSignal): Promise<string>;
}

export async function listenToGuest(t: Teardown): Promise<Told> {
  const at = new Map<string, number>();
  const server = createServer((socket) => {
    socket.setEncoding('utf8').on('data', (text: string) => at.set(text.trim(), performance.now()));
    socket.on('error', () => {});
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  t.teardown(() => server.close());
  return {
    port: (server.address() as AddressInfo).port,
    heard: (word, signal) => until(() => at.get(word), signal),
    heardOf: (start, signal) => until(() => [...at.keys()].find((text) => text.startsWith(start)), signal),
  };
}

export const tellHost = ({ port }: Told, word: string) =>
  `bash -c 'echo ${word} >/dev/tcp/${HOST}/${port}'\n`;

/** Until PID 1 says on the console that a handler of ours has started. @param folder of the boot */
export async function untilAsked(folder: string, signal: AbortSignal): Promise<void> {
  const console = `${folder}/console.log`;
  await until(() => existsSync(console) && /fetch-luks-key@\d/.test(readFileSync(console, 'latin1')), signal);
}

/** @returns what `look` found, once it is something */
export async function until<T>(look: () => T | undefined | false, signal: AbortSignal): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    await pause(100, undefined, { signal });
  }
}

/** Runs `work` beside a boot; it ends with the boot at the latest. What it fails with, the scenario fails with. */
export async function beside<T>(boot: Promise<T>, work: (signal: AbortSignal) => Promise<void>): Promise<T> {
  const ended = new AbortController();
  const working = work(ended.signal).catch((thrown: unknown) => {
    if (!ended.signal.aborted) throw thrown;
  });
  const [result] = await Promise.all([boot.finally(() => ended.abort()), working]);
  return result;
}
