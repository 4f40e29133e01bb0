import { createHash } from 'node:crypto';
import type { InferOutput } from 'valibot';
import { fromBase64url } from '../../base/bytes.ts';
import type * as wire from '../../wire/machine.ts';
import type { Policy } from '../machine/policy.ts';
import { joined } from '../machine/state.ts';
import type { Machine } from '../store/store.ts';
import type { App, Newcomer } from './app.ts';
import { happen, Refused, stateOf } from './machine.ts';

/** What an operator bound to an invitation. */
export interface InvitationDetails {
  readonly policy: Policy;
  /** For a machine that is known: it gets a new key, and stays locked until an operator has seen it. */
  readonly rejoin: boolean;
}

/** SHA-256: all that the server keeps of an invitation. */
export function invitationHash(invitation: Uint8Array): Buffer {
  return createHash('sha256').update(invitation).digest();
}

/**
 * `POST /v1/join`: the key of the TLS client certificate becomes the machine's. An invitation that is used, expired or
 * made up is told alike, and of several who try one at the same time one gets it.
 * @throws Refused
 */
export async function join(
  app: App,
  caller: Newcomer,
  request: InferOutput<typeof wire.join.request>,
): Promise<InferOutput<typeof wire.join.response>> {
  const { newPin, from, requestId } = caller;
  const hash = invitationHash(fromBase64url(request.invitation) ?? new Uint8Array());
  const result = await app.store.transaction(async (transaction) => {
    const now = app.store.now();
    const invitation = await transaction.takeInvitation(hash, now.leaseMs);
    if (invitation === null) throw new Refused('unknown', 'no such invitation, or it has expired');
    const { name } = invitation;
    const { policy, rejoin } = invitation.details as unknown as InvitationDetails;
    const entry = { who: 'machine', what: 'join', machine: name, from, requestId };
    const known = await transaction.machine('name', name);
    if (known !== null && stateOf(known).status === 'revoked') {
      throw new Refused('revoked', `${name}: the machine is revoked`);
    }
    if (rejoin && known !== null) {
      const { machine } = await happen(transaction, known, { type: 'rejoin' }, now, {
        ...entry,
        what: 'rejoin',
      });
      if (!(await transaction.replacePin(machine, newPin))) throw taken(name);
      return { name, status: 'locked' as const };
    }
    const state = joined(policy) as unknown as Machine['state'];
    const id = app.random.bytes(16).toString('hex');
    if (!(await transaction.addMachine({ id, name, pin: newPin, state }))) throw taken(name);
    transaction.record({ ...entry, outcome: 'done' });
    return { name, status: 'armed' as const };
  });
  app.alert({ kind: 'joined', machine: result.name, from, requestId, text: null });
  return { ...result, chain: [...app.keys.chain] };
}

/** The invitation is not used up by this: what is thrown rolls everything back. */
function taken(name: string): Refused {
  return new Refused('unknown', `${name}: the name or the key belongs to another machine`);
}
