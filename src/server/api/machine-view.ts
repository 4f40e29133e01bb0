import { keyPinText } from '../../base/key-pin.ts';
import { serverLimits } from '../../base/server-limits.ts';
import type { MachineView } from '../../wire/operator.ts';
import { leaseLeftMs, statusAt, waiting } from '../machine/state.ts';
import type { Machine, Transaction } from '../store/store.ts';
import type { App } from './app.ts';
import { stateOf } from './machine.ts';

/** A machine as operators are shown it. */
export async function view(
  app: App,
  transaction: Pick<Transaction, 'keysOf'>,
  machine: Machine,
): Promise<MachineView> {
  const state = stateOf(machine);
  const { leaseMs } = app.store.now();
  const { policy, seen } = state;
  const keys = await transaction.keysOf(machine.id);
  return {
    name: machine.name,
    status: statusAt(state, leaseMs),
    cause: state.cause ?? (statusAt(state, leaseMs) === state.status ? null : 'lease'),
    fingerprint: fingerprintOf(machine),
    tang: machine.tang === null ? null : `/t/${machine.tang}`,
    'lease-left-ms': leaseLeftMs(state, leaseMs),
    'last-seen-ms': seen?.wallMs ?? null,
    'last-seen-from': seen?.from ?? null,
    keys: keys.filter((key) => key.deletedMs === null).length,
    'deleted-keys': keys.flatMap(({ kid, deletedMs }) => {
      if (deletedMs === null) return [];
      return [{ kid, 'left-ms': Math.max(0, deletedMs + serverLimits.deletedKeyMs - leaseMs) }];
    }),
    pending: waiting(state, leaseMs).map(({ id, from, sinceMs, kid, approved }) => ({
      id,
      from,
      'since-ms': sinceMs,
      kid,
      approved,
    })),
    policy: {
      'lease-ms': policy.leaseMs,
      'boot-grace-ms': policy.bootGraceMs,
      'late-keepalive': policy.lateKeepalive,
      'self-expect': policy.selfExpect,
      approval: policy.approval,
      'allowed-from': [...policy.allowedFrom],
    },
  };
}

export function fingerprintOf({ pin }: Machine): string | null {
  return pin === null ? null : keyPinText(pin);
}
