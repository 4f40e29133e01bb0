import { AppError } from '../../base/errors.ts';
import type { MachineView } from '../../wire/operator.ts';
import { isBlock } from '../machine/address.ts';
import type { Policy } from '../machine/policy.ts';
import type { Machine } from '../store/store.ts';
import { stateOf } from './machine.ts';

/** What of a policy is to be another; the rest stays. */
export type PolicyChange = MachineView['policy'];

/** @throws AppError `usage` */
export function policyWith(policy: Policy, change: PolicyChange): Policy {
  const allowedFrom = change['allowed-from'] ?? policy.allowedFrom;
  const wrong = allowedFrom.find((text) => !isBlock(text));
  if (wrong !== undefined) {
    throw new AppError('usage', `expected a block of addresses, got ${JSON.stringify(wrong)}`, {
      hint: 'for example 192.0.2.0/24 or 2001:db8::/32',
    });
  }
  return {
    leaseMs: change['lease-ms'] ?? policy.leaseMs,
    bootGraceMs: change['boot-grace-ms'] ?? policy.bootGraceMs,
    lateKeepalive: change['late-keepalive'] ?? policy.lateKeepalive,
    selfExpect: change['self-expect'] ?? policy.selfExpect,
    approval: change.approval ?? policy.approval,
    allowedFrom,
  };
}

/** @throws AppError `usage` */
export function policyFor(machine: Machine, change: PolicyChange): Policy {
  const policy = policyWith(stateOf(machine).policy, change);
  if (machine.tang === null) return policy;
  if (policy.allowedFrom.length === 0 || policy.bootGraceMs !== 0 || policy.selfExpect !== 'never') {
    throw new AppError(
      'usage',
      `${machine.name}: a Tang client has no boot-grace and no self-expect, and needs --from`,
    );
  }
  return policy;
}

/** What of a policy was changed, for the record. */
export function told(change: PolicyChange): Record<string, string | number> {
  const fields = Object.entries(change).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Array.isArray(value) ? value.join(' ') : value] as const],
  );
  return Object.fromEntries(fields);
}
