import type { Policy } from './policy.ts';
import type { MachineState } from './state.ts';

/** Why a machine gets nothing; it is told no more than this. */
export type Refusal =
  | 'locked'
  | 'revoked'
  | 'approval-pending'
  | 'not-allowed-from'
  | 'count-used'
  | 'unknown';

interface FromMachine {
  /** Where the request came from. */
  readonly from: string;
  /** The machine's boot id (proc(5), /proc/sys/kernel/random/boot_id): its own claim; null for a Tang client. */
  readonly boot: string | null;
}

export type MachineEvent =
  | (FromMachine & { readonly type: 'recover'; readonly kid: string; readonly requestId: string })
  /** @field proven whether it carried the alive proof of one of the machine's keys */
  | (FromMachine & { readonly type: 'keepalive'; readonly proven: boolean })
  /**
   * A key was sealed.
   * @field alive hash of its alive proof, which only who has the key can make
   * @field kept ids of the exchange keys that the machine has, those deleted softly too
   * @field proven whether it carried the alive proof of one of the machine's other keys
   */
  | (FromMachine & {
      readonly type: 'register';
      readonly kid: string;
      readonly alive: string;
      readonly kept: readonly string[];
      readonly proven: boolean;
    })
  /** A key is to be deleted, softly. */
  | (Omit<FromMachine, 'boot'> & { readonly type: 'delete-key' })
  /** A Tang client is told what to seal a key with; whether it does, it never tells. */
  | (Omit<FromMachine, 'boot'> & { readonly type: 'advertise' })
  | (FromMachine & { readonly type: 'announce'; readonly proven: boolean; readonly withinMs: number })
  /** It says something of itself. */
  | (Omit<FromMachine, 'boot'> & { readonly type: 'claim' })
  /** It asks for what is another's, deleted, or never was. */
  | (Omit<FromMachine, 'boot'> & { readonly type: 'stray' });

export type OperatorEvent =
  | { readonly type: 'lock' }
  /** @field confirmed whether the operator named the fingerprint of the client key that the machine has now */
  | { readonly type: 'allow'; readonly confirmed: boolean }
  | { readonly type: 'revoke' }
  | { readonly type: 'expect'; readonly boots: number; readonly withinMs: number }
  | { readonly type: 'policy'; readonly policy: Policy }
  | { readonly type: 'approve' | 'deny'; readonly requestId: string }
  /** A new client key was joined with an invitation for a machine that is known. */
  | { readonly type: 'rejoin' }
  | { readonly type: 'restore' };

export type Event = MachineEvent | OperatorEvent;

export type AlertKind = 'locked' | 'revoked' | 'refused' | 'approval-pending' | 'announced' | 'rearmed';

export interface Outcome {
  readonly state: MachineState;
  /** null = done, or released. */
  readonly refusal: Refusal | null;
  /** What is to be told, beside what is recorded. */
  readonly alerts: readonly AlertKind[];
}

export function done(state: MachineState, ...alerts: AlertKind[]): Outcome {
  return { state, refusal: null, alerts };
}

export function refused(state: MachineState, refusal: Refusal, ...alerts: AlertKind[]): Outcome {
  return { state, refusal, alerts };
}
