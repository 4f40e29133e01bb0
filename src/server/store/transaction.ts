import type { Secret } from '../../base/secret.ts';
import type { Head, Link } from '../audit/chain.ts';
import type { SignedHead } from '../audit/heads.ts';
import { type AuditEntry, type Now, recordText } from '../audit/record.ts';
import { appendRecords, headsAfter, insertHead, linksAfter, readHead } from './audit-rows.ts';
import type { Query } from './database.ts';
import { findKey, insertKey, keysOfMachine } from './exchange-keys.ts';
import { insertInvitation, takeInvitation } from './invitations.ts';
import type { Keyring } from './keyring.ts';
import { findMachine, insertMachine, machinesAfter, updateMachine, updateState } from './machines.ts';
import { revokeMachine } from './revocation.ts';
import type { ExchangeKey, Invitation, Machine, NewExchangeKey, NewMachine, Transaction } from './store.ts';
import type { Tombstones } from './tombstones.ts';

/** The tables, as one transaction sees them. */
export class TableTransaction implements Transaction {
  readonly #query: Query;
  readonly #keyring: Keyring;
  readonly #tombstones: Tombstones;
  readonly #now: () => Now;
  readonly #records: AuditEntry[] = [];
  #destroyed = false;

  constructor(query: Query, keyring: Keyring, tombstones: Tombstones, now: () => Now) {
    this.#query = query;
    this.#keyring = keyring;
    this.#tombstones = tombstones;
    this.#now = now;
  }

  /** Whether exchange keys were destroyed. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  /** The last thing before the commit. */
  async finish(): Promise<void> {
    const now = this.#now();
    const texts = this.#records.map((entry) => recordText(entry, now));
    await appendRecords(this.#query, texts);
  }

  machine(by: 'id' | 'name' | 'pin' | 'tang', value: string | Uint8Array): Promise<Machine | null> {
    return findMachine(this.#query, this.#keyring, by, value);
  }

  machinesAfter(after: string, count: number): Promise<Machine[]> {
    return machinesAfter(this.#query, this.#keyring, after, count);
  }

  addMachine(machine: NewMachine): Promise<boolean> {
    return insertMachine(this.#query, this.#keyring, machine);
  }

  saveState(machine: Machine): Promise<void> {
    return updateState(this.#query, this.#keyring, machine);
  }

  async replacePin(machine: Machine, pin: Buffer): Promise<boolean> {
    const holder = await this.machine('pin', pin);
    if (holder !== null && holder.id !== machine.id) return false;
    await updateMachine(this.#query, this.#keyring, { ...machine, pin });
    return true;
  }

  announce(machine: Machine): Promise<void> {
    return this.#query.announce({ kind: 'changed', machine: machine.id });
  }

  async revoke(machine: Machine): Promise<void> {
    await revokeMachine(this.#query, this.#keyring, this.#tombstones, machine);
    this.#destroyed = true;
  }

  addKey(key: NewExchangeKey, privateKey: Secret): Promise<boolean> {
    return insertKey(this.#query, this.#keyring, key, privateKey);
  }

  key(kid: string): Promise<ExchangeKey | null> {
    return findKey(this.#query, this.#keyring, kid);
  }

  keysOf(machine: string): Promise<ExchangeKey[]> {
    return keysOfMachine(this.#query, this.#keyring, machine);
  }

  async setDeleted(kid: string, atMs: number | null): Promise<void> {
    await this.#query.change('UPDATE exchange_keys SET deleted_ms = ?2 WHERE kid = ?1', kid, atMs);
  }

  async destroyDeleted(untilMs: number): Promise<number> {
    const count = await this.#query.change('DELETE FROM exchange_keys WHERE deleted_ms <= ?1', untilMs);
    if (count > 0) this.#destroyed = true;
    return count;
  }

  addInvitation(invitation: Invitation): Promise<void> {
    return insertInvitation(this.#query, invitation);
  }

  takeInvitation(hash: Buffer, nowMs: number): Promise<Invitation | null> {
    return takeInvitation(this.#query, hash, nowMs);
  }

  record(entry: AuditEntry): void {
    this.#records.push(entry);
  }

  auditHead(): Promise<Head> {
    return readHead(this.#query);
  }

  linksAfter(seq: number, count: number): Promise<Link[]> {
    return linksAfter(this.#query, seq, count);
  }

  headsAfter(seq: number, count: number): Promise<SignedHead[]> {
    return headsAfter(this.#query, seq, count);
  }

  saveHead(head: SignedHead): Promise<void> {
    return insertHead(this.#query, head);
  }
}
