import { toBase64url } from '../base/bytes.ts';
import { keyPinText } from '../base/key-pin.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { lineOf, type Succession } from '../identity/succession.ts';

/** The keys of one server, each by SHA-256 of its SubjectPublicKeyInfo: a server changes its key now and then. */
export interface ServerKeys {
  /** All that it ever had, as far as is known: sealed keys name it by the one of their time. */
  readonly names: readonly Buffer[];
  /** Those that it may prove now: the one in use, and the one that is to follow. */
  readonly accepted: readonly Buffer[];
  readonly chain: readonly Succession[];
}

/** Folder of what follows the key that config.yaml names, a file for each server; the keep-alive daemon writes it. */
export const serverKeysFolder = (etc: string) => `${etc}/server-keys`;

export const serverKeysPath = (etc: string, pinSha256: Buffer) =>
  `${serverKeysFolder(etc)}/${toBase64url(pinSha256)}`;

/** Whether a sealed key that names `pinSha256` means this server. */
export function isNamed({ names }: Pick<ServerKeys, 'names'>, pinSha256: Uint8Array): boolean {
  return names.some((name) => name.equals(pinSha256));
}

export function onlyKey(pinSha256: Buffer): ServerKeys {
  return { names: [pinSha256], accepted: [pinSha256], chain: [] };
}

/**
 * @param pinSha256 the key that config.yaml names
 * @param used the key that the server was last seen with
 * @returns null when the chain says nothing of that key
 */
export function serverKeys(
  pinSha256: Buffer,
  chain: readonly Succession[],
  used: string | null,
): ServerKeys | null {
  const names = lineOf(chain);
  const from = names.findIndex((pin) => pin.equals(pinSha256));
  if (from < 0) return null;
  const at = names.findIndex((pin) => keyPinText(pin) === used);
  return { names, accepted: names.slice(Math.max(from, at)), chain };
}

/** What cannot be read is as good as absent: the server tells it anew, and each word in it is signed. */
export async function readServerKeys(files: Files, etc: string, pinSha256: Buffer): Promise<ServerKeys> {
  try {
    const bytes = await files.read(serverKeysPath(etc, pinSha256), limits.serverKeysBytes);
    if (bytes === null) return onlyKey(pinSha256);
    const { chain, used } = JSON.parse(bytes.toString()) as { chain: Succession[]; used: string };
    return serverKeys(pinSha256, chain, used) ?? onlyKey(pinSha256);
  } catch {
    return onlyKey(pinSha256);
  }
}

/** @param used as `serverKeys` takes it @returns the file's contents */
export function serverKeysText(chain: readonly Succession[], used: string): Buffer {
  return Buffer.from(`${JSON.stringify({ chain, used })}\n`);
}
