import type { InferOutput } from 'valibot';
import { toBase64url } from '../../base/bytes.ts';
import { limits } from '../../base/limits.ts';
import type { auditDigests } from '../../wire/machine.ts';
import { digestOf } from '../audit/chain.ts';
import type { App, MachineCaller } from './app.ts';
import { asMachine, granted, refuseUnknown, stateOf } from './machine.ts';

/** `POST /v1/audit/digests` @throws Refused */
export function digests(
  app: App,
  caller: MachineCaller,
  { after }: InferOutput<typeof auditDigests.request>,
): Promise<InferOutput<typeof auditDigests.response>> {
  return asMachine(app, caller, async (transaction, machine) => {
    if (stateOf(machine).status === 'revoked') {
      return refuseUnknown(transaction, machine, caller, app.store.now(), null);
    }
    const links = await transaction.linksAfter(after, limits.auditDigestsPage);
    return granted(machine, { digests: links.map(({ text }) => toBase64url(digestOf(text))) });
  });
}
