import type { Clock, Random } from '../../base/ports.ts';
import type { SignedHead } from '../audit/heads.ts';
import type { AlertKind } from '../machine/event.ts';
import type { Store } from '../store/store.ts';
import type { Counters } from './counters.ts';
import type { OwnKeys } from './own-keys.ts';
import type { Upkeep } from './upkeep.ts';

/** What a machine may say of itself. */
export const claimKinds = ['acted', 'audit-head', 'tpm-protection-unavailable', 'journal-sealed'] as const;

/** Something to be told to people: journal, webhooks. */
export interface Alert {
  readonly kind: AlertKind | 'joined' | (typeof claimKinds)[number];
  readonly machine: string;
  readonly from: string | null;
  readonly requestId: string;
  /** What was refused, or the machine's own words. */
  readonly text: string | null;
}

/** What the routes work with. */
export interface App {
  readonly store: Store;
  readonly random: Random;
  readonly clock: Clock;
  /** Told once what it is about is committed. Never throws, never waits. */
  alert(alert: Alert): void;
  readonly counters: Counters;
  readonly keys: OwnKeys;
  /** The newest signed head of the audit log; null before the first. */
  latestHead(): SignedHead | null;
  readonly upkeep: Upkeep;
}

/** Who asks: anybody, as far as this tells. */
export interface Caller {
  readonly from: string;
  readonly requestId: string;
}

/** Who has proved a key that is to become a machine's. */
export interface Newcomer extends Caller {
  /** SHA-256 of the client key's SubjectPublicKeyInfo. */
  readonly newPin: Buffer;
}

/** Who has proved a key that may be a machine's: `asMachine` finds out, in the transaction that serves it. */
export interface MachineCaller extends Caller {
  /** SHA-256 of the client key's SubjectPublicKeyInfo: a machine is known by that alone. */
  readonly machinePin: Buffer;
}
