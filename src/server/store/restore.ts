import { AppError } from '../../base/errors.ts';
import { Secret } from '../../base/secret.ts';
import { emptyChain, type Head } from '../audit/chain.ts';
import { headFromJson } from '../audit/heads.ts';
import type { MachineState } from '../machine/state.ts';
import { insertHead, insertLink, readHead, writeHead } from './audit-rows.ts';
import {
  type BackupEnd,
  type BackupKey,
  type BackupKind,
  type BackupLine,
  type BackupMachine,
  backupLines,
  notWhole,
} from './backup-lines.ts';
import { numberOf, type Query } from './database.ts';
import { insertKey } from './exchange-keys.ts';
import { insertMachine, updateMachine } from './machines.ts';
import type { DatabaseStore } from './open.ts';
import { openSealed } from './sealed-file.ts';

/**
 * Fills an empty store from a backup. Every machine that is not revoked starts as `asLocked` makes it; whom the
 * tombstones of this host name is revoked. All of it happens, or nothing.
 * @returns the files that went with it
 * @throws AppError `refused` when the store is not empty; `damaged`
 */
export async function restoreBackup(
  store: DatabaseStore,
  file: AsyncIterable<Uint8Array>,
  passphrase: Secret,
  asLocked: (state: MachineState) => MachineState,
): Promise<Map<string, Secret>> {
  const files = new Map<string, Secret>();
  await store.alone(async (query) => {
    await refuseFilled(query);
    const restoring = new Restoring(store, query, asLocked, files);
    for await (const line of backupLines(openSealed(file, passphrase))) await restoring.take(line);
    await restoring.finish();
  });
  return files;
}

async function refuseFilled(query: Query): Promise<void> {
  const [row = {}] = await query.rows('SELECT count(*) AS machines FROM machines');
  const { seq } = await readHead(query);
  if (numberOf(row, 'machines') === 0 && seq === 0) return;
  throw new AppError('refused', 'restore: the store is not empty', { hint: 'restore into a new one' });
}

/** What has been restored so far. */
class Restoring {
  readonly #store: DatabaseStore;
  readonly #query: Query;
  readonly #asLocked: (state: MachineState) => MachineState;
  readonly #files: Map<string, Secret>;
  readonly #counts: Record<BackupKind, number> = { machine: 0, key: 0, record: 0, head: 0, file: 0 };
  #head: Head = emptyChain;
  #end: BackupEnd | null = null;

  constructor(
    store: DatabaseStore,
    query: Query,
    asLocked: (state: MachineState) => MachineState,
    files: Map<string, Secret>,
  ) {
    this.#store = store;
    this.#query = query;
    this.#asLocked = asLocked;
    this.#files = files;
  }

  async take(line: BackupLine): Promise<void> {
    if ('end' in line) {
      this.#end = line.end;
      return;
    }
    const [kind] = Object.keys(line) as BackupKind[];
    if (kind === undefined || this.#end !== null) throw notWhole();
    this.#counts[kind] += 1;
    if ('file' in line) this.#files.set(line.file.name, Secret.takeFrom(line.file.bytes));
    else if ('machine' in line) await this.#machine(line.machine);
    else if ('key' in line) await this.#key(line.key);
    else if ('record' in line) await this.#record(line.record);
    else await this.#signedHead(line.head);
  }

  /** The last line is a count: a program that stopped in between would have left it out. */
  async finish(): Promise<void> {
    if (this.#end === null) throw notWhole();
    const { 'lease-ms': leaseMs, ...counts } = this.#end;
    if (Object.entries(counts).some(([kind, n]) => this.#counts[kind as BackupKind] !== n)) throw notWhole();
    await writeHead(this.#query, this.#head);
    await this.#query.change('UPDATE store SET lease_ms = ?1', leaseMs);
  }

  async #machine({ revoked, state, ...machine }: BackupMachine): Promise<void> {
    const { keyring } = this.#store;
    const restored = { ...machine, state: revoked ? state : this.#asLocked(state) };
    if (!(await insertMachine(this.#query, keyring, restored))) throw notWhole();
    if (!revoked) return;
    const { version } = await keyring.current(this.#query);
    await updateMachine(this.#query, keyring, { ...restored, revoked, version });
  }

  async #key(line: BackupKey): Promise<void> {
    const { private: secret, 'deleted-ms': deletedMs, ...key } = line;
    const added = await insertKey(this.#query, this.#store.keyring, key, Secret.takeFrom(secret), deletedMs);
    if (!added) throw notWhole();
  }

  async #record({ seq, hash, text }: { seq: number; hash: Buffer; text: string }): Promise<void> {
    // A log that had been tampered with stays as it was found: audit verify says what is wrong with it.
    if (seq <= this.#head.seq) throw notWhole();
    await insertLink(this.#query, { seq, hash, text });
    this.#head = { seq, hash };
  }

  async #signedHead(value: unknown): Promise<void> {
    const head = headFromJson(value);
    if (head === null) throw notWhole();
    await insertHead(this.#query, head);
  }
}
