import { toBase64url } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import type { Secret } from '../../base/secret.ts';
import { serverLimits } from '../../base/server-limits.ts';
import { headToJson } from '../audit/heads.ts';
import { allHeads, allLinks, allMachines } from './pages.ts';
import { SealedWriter } from './sealed-file.ts';
import type { Reader, Store } from './store.ts';

/** What goes with the store: the server's identity, say, by name. */
export type BackupFiles = ReadonlyMap<string, Buffer>;

/**
 * Writes all that a server knows as one file, sealed to a passphrase: machines, exchange keys in clear within it (so
 * that no master key is needed to restore them, nor the same database), the audit log and its heads, and `files`.
 * Invitations are left out. One line of JSON for each, the last one a count.
 * @throws AppError `damaged` when a row is not what this server wrote, or longer than a restore takes
 */
export async function writeBackup(
  store: Store,
  files: BackupFiles,
  passphrase: Secret,
  write: (sealed: Buffer) => Promise<void>,
): Promise<void> {
  using sealed = await SealedWriter.start(passphrase, write);
  const counts = { machine: 0, key: 0, record: 0, head: 0, file: 0 };
  const put = async (kind: keyof typeof counts, value: unknown) => {
    counts[kind] += 1;
    await sealed.add(lineOf({ [kind]: value }));
  };
  for (const [name, bytes] of files) await put('file', { name, bytes: toBase64url(bytes) });
  await store.snapshot(async (reader) => {
    await putMachines(reader, put);
    await putAudit(reader, put);
  });
  await sealed.add(lineOf({ end: { ...counts, 'lease-ms': store.now().leaseMs } }));
  await sealed.end();
}

/** @throws AppError `damaged`: a restore would not take it */
function lineOf(value: object): Buffer {
  const line = Buffer.from(`${JSON.stringify(value)}\n`);
  if (line.length <= serverLimits.backupLineBytes) return line;
  throw new AppError('damaged', `backup: a ${Object.keys(value)} takes ${line.length} bytes`, {
    hint: `expected at most ${serverLimits.backupLineBytes}: report this as a bug`,
  });
}

type Put = (kind: 'machine' | 'key' | 'record' | 'head', value: unknown) => Promise<void>;

async function putMachines(reader: Reader, put: Put): Promise<void> {
  for await (const { id, name, pin, tang, revoked, state } of allMachines(reader)) {
    await put('machine', { id, name, pin: pin && toBase64url(pin), tang, revoked, state });
    for (const key of await reader.keysOf(id)) {
      using secret = await key.open();
      const { kid, machine, curve, deletedMs } = key;
      const bytes = toBase64url(secret.reveal());
      await put('key', { kid, machine, curve, public: key.public, private: bytes, 'deleted-ms': deletedMs });
    }
  }
}

async function putAudit(reader: Reader, put: Put): Promise<void> {
  for await (const { seq, hash, text } of allLinks(reader)) {
    await put('record', { seq, hash: toBase64url(hash), text });
  }
  for await (const head of allHeads(reader)) await put('head', headToJson(head));
}
