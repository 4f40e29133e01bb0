import type { Secret } from '../../base/secret.ts';
import type { Head, Link } from '../audit/chain.ts';
import type { SignedHead } from '../audit/heads.ts';
import type { AuditEntry, Now } from '../audit/record.ts';
import type { MachineState } from '../machine/state.ts';
import type { StoreEvent } from './database.ts';

export interface NewMachine {
  /** For ever its own; a name may pass to another once, an id never. */
  readonly id: string;
  readonly name: string;
  /** SHA-256 of its client key's SubjectPublicKeyInfo; null for a machine that has none. */
  readonly pin?: Buffer | null;
  /** Address of its Tang face; null for a machine that has none. */
  readonly tang?: string | null;
  /** Plain JSON, into which the store does not look. */
  readonly state: MachineState;
}

export interface Machine extends Required<NewMachine> {
  /** For ever. */
  readonly revoked: boolean;
  /** Of the master key that its row is marked under. */
  readonly version: number;
}

export interface NewExchangeKey {
  readonly kid: string;
  /** The machine's id. */
  readonly machine: string;
  readonly curve: string;
  /** Its public half, as the caller writes it. */
  readonly public: string;
}

export interface ExchangeKey extends NewExchangeKey {
  /** Lease clock when it was deleted, softly; null while it is in use. */
  readonly deletedMs: number | null;
  /** @throws AppError `damaged` when the row is not what this server wrote */
  readonly open: () => Promise<Secret>;
}

export interface Invitation {
  /** SHA-256 of the invitation: all that is kept of it. */
  readonly hash: Buffer;
  /** The machine that it is for. */
  readonly name: string;
  /** On the lease clock; at this very instant it has expired. */
  readonly expiresMs: number;
  /** What else the caller binds to it: plain JSON. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What can be read in one transaction. A machine is changed by nobody else, on any process, until it ends. */
export interface Reader {
  machine(by: 'id' | 'name' | 'pin' | 'tang', value: string | Uint8Array): Promise<Machine | null>;
  /** By name, after `after`: `''` for the first page. */
  machinesAfter(after: string, count: number): Promise<Machine[]>;
  key(kid: string): Promise<ExchangeKey | null>;
  /** Those of a machine, the deleted ones too. */
  keysOf(machine: string): Promise<ExchangeKey[]>;
  auditHead(): Promise<Head>;
  /** The records after number `seq`, in order. */
  linksAfter(seq: number, count: number): Promise<Link[]>;
  /** The server's own word for heads, after number `seq`, in order. */
  headsAfter(seq: number, count: number): Promise<SignedHead[]>;
}

/** One unit of work: all of it is on the disk when it is done, or none. */
export interface Transaction extends Reader {
  /** @returns false when its id, name, pin or Tang address belongs to another */
  addMachine(machine: NewMachine): Promise<boolean>;
  /** Keeps the state of a machine that was read in this transaction. */
  saveState(machine: Machine): Promise<void>;
  /** Keeps its state, and gives it another client key. @returns false when that belongs to another */
  replacePin(machine: Machine, pin: Buffer): Promise<boolean>;
  /** Tells every process, after the commit, that this machine is to be looked at again. */
  announce(machine: Machine): Promise<void>;
  /**
   * For ever, with the state that the machine now has: exchange keys and open invitations destroyed, tombstone written
   * before the commit.
   */
  revoke(machine: Machine): Promise<void>;

  /** Wipes `privateKey`. @returns false when there is such a key */
  addKey(key: NewExchangeKey, privateKey: Secret): Promise<boolean>;
  /** @param atMs lease clock; null brings it back */
  setDeleted(kid: string, atMs: number | null): Promise<void>;
  /** Destroys what was deleted at `untilMs` (lease clock) or before. @returns how many */
  destroyDeleted(untilMs: number): Promise<number>;

  /** Replaces an older one for the same name. */
  addInvitation(invitation: Invitation): Promise<void>;
  /** Uses it up; only one of several who try gets it. @returns null when there is none or it has expired */
  takeInvitation(hash: Buffer, nowMs: number): Promise<Invitation | null>;

  /** Adds a record to the audit log, last thing before the commit. */
  record(entry: AuditEntry): void;
  /** Keeps the server's own word for a head. */
  saveHead(head: SignedHead): Promise<void>;
}

/** Failures are those of `Database`. */
export interface Store {
  /**
   * What `work` throws rolls everything back; a refusal that must be recorded is returned. Nothing may leave before
   * this has resolved. `work` waits for nothing but the transaction.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  /** One state of everything, without holding anybody up. */
  snapshot<T>(work: (reader: Reader) => Promise<T>): Promise<T>;
  now(): Now;
  /** Advances the lease clock; to be called at least every 10 s, or it stands still. */
  tick(): Promise<void>;
  /** Tells what any process has committed. */
  subscribe(listener: (event: StoreEvent) => void): () => void;
  close(): Promise<void>;
}
