import { createHash, timingSafeEqual } from 'node:crypto';
import type { InferOutput } from 'valibot';
import { fromBase64url } from '../../base/bytes.ts';
import type * as wire from '../../wire/machine.ts';
import { headToJson } from '../audit/heads.ts';
import { leaseLeftMs, type MachineState } from '../machine/state.ts';
import type { App, MachineCaller } from './app.ts';
import { asMachine, happen, stateOf } from './machine.ts';

type Proof = { readonly kid: string; readonly proof: string } | undefined;

/** `POST /v1/keepalive` @throws Refused */
export async function keepalive(
  app: App,
  caller: MachineCaller,
  { boot, proof, 'server-key': serverKey }: InferOutput<typeof wire.keepalive.request>,
): Promise<InferOutput<typeof wire.keepalive.response>> {
  const answer = await asMachine(app, caller, async (transaction, machine) => {
    const now = app.store.now();
    const proven = isProof(stateOf(machine), proof);
    const event = { type: 'keepalive', proven, boot, from: caller.from } as const;
    // What it knows of our keys counts whether it is granted or not.
    const told = { ...machine, state: { ...stateOf(machine), serverKey: serverKey ?? null } };
    const step = await happen(transaction, told, event, now, null);
    const head = app.latestHead();
    const value = {
      'server-key': app.keys.next ?? app.keys.pin,
      'lease-left-ms': leaseLeftMs(stateOf(step.machine), now.leaseMs),
      'audit-head': head === null ? null : headToJson(head),
    };
    return { ...step, value };
  });
  app.counters.keepalives++;
  return answer;
}

/** `POST /v1/expect`: the machine announces its own reboot. @throws Refused */
export async function expect(
  app: App,
  caller: MachineCaller,
  { boot, proof, 'within-ms': withinMs }: InferOutput<typeof wire.expect.request>,
): Promise<InferOutput<typeof wire.expect.response>> {
  const { from, requestId } = caller;
  return asMachine(app, caller, async (transaction, machine) => {
    const now = app.store.now();
    const proven = isProof(stateOf(machine), proof);
    const event = { type: 'announce', proven, withinMs, boot, from } as const;
    const entry = { who: 'machine', what: 'announce', from, requestId };
    const step = await happen(transaction, machine, event, now, entry);
    return { ...step, value: { 'lease-left-ms': leaseLeftMs(stateOf(step.machine), now.leaseMs) } };
  });
}

/** Whether this is what the sealed key gives: the server knows its SHA-256 alone. */
export function isProof({ alive }: MachineState, proof: Proof): boolean {
  if (proof === undefined || !Object.hasOwn(alive, proof.kid)) return false;
  const expected = fromBase64url(alive[proof.kid] ?? '');
  const given = fromBase64url(proof.proof);
  if (expected === null || given === null) return false;
  const got = createHash('sha256').update(given).digest();
  return got.length === expected.length && timingSafeEqual(got, expected);
}
