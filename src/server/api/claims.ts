import type { InferOutput } from 'valibot';
import type * as wire from '../../wire/machine.ts';
import type { App, MachineCaller } from './app.ts';
import { asMachine, happen } from './machine.ts';

/** `POST /v1/alerts`: the machine's own words, recorded as no more than that; none beyond its number. @throws Refused */
export async function claim(
  app: App,
  caller: MachineCaller,
  { kind, text }: InferOutput<typeof wire.alert.request>,
): Promise<InferOutput<typeof wire.alert.response>> {
  const { from, requestId } = caller;
  const name = await asMachine(app, caller, async (transaction, machine) => {
    const step = await happen(transaction, machine, { type: 'claim', from }, app.store.now(), null);
    if (step.refusal !== null) return { ...step, value: null };
    const entry = { who: 'machine', what: 'claim', outcome: kind, machine: machine.name, from, requestId };
    transaction.record({ ...entry, details: { text } });
    return { ...step, value: machine.name };
  });
  app.alert({ kind, machine: name, from, requestId, text });
  return {};
}
