import type { InferOutput } from 'valibot';
import { AppError } from '../../base/errors.ts';
import { answerTo, generateExchangeKey } from '../../exchange/answer.ts';
import { curves } from '../../exchange/curve.ts';
import { parseEcKey, thumbprint, toJwk } from '../../exchange/jwk.ts';
import type {
  createKey as createKeyWire,
  deleteKey as deleteKeyWire,
  recover as recoverWire,
} from '../../wire/machine.ts';
import type { ExchangeKey, Machine } from '../store/store.ts';
import type { App, MachineCaller } from './app.ts';
import { isProof } from './keepalive.ts';
import { asMachine, granted, happen, refuseUnknown, stateOf } from './machine.ts';

type KeyResponse = InferOutput<typeof createKeyWire.response>;

/** `POST /v1/keys`: makes an exchange key for the machine that asks. @throws Refused */
export async function createKey(
  app: App,
  caller: MachineCaller,
  { crv, alive, boot, proof }: InferOutput<typeof createKeyWire.request>,
): Promise<KeyResponse> {
  const { point, secret } = generateExchangeKey(curves[crv]);
  using own = secret;
  const key = { ...toJwk(point), crv };
  const kid = thumbprint(key, 'S256');
  const { from, requestId } = caller;
  // Awaited here: `own` is wiped when this function ends.
  return await asMachine(app, caller, async (transaction, machine) => {
    const proven = isProof(stateOf(machine), proof);
    const kept = (await transaction.keysOf(machine.id)).map((each) => each.kid);
    const event = { type: 'register', kid, alive, kept, proven, boot, from } as const;
    const entry = { who: 'machine', what: 'create-key', key: kid, from, requestId };
    const step = await happen(transaction, machine, event, app.store.now(), entry);
    if (step.refusal !== null) return { ...step, value: null };
    const row = { kid, machine: machine.id, curve: crv, public: JSON.stringify(key) };
    if (!(await transaction.addKey(row, own))) throw new Error('two exchange keys with one thumbprint');
    return { ...step, value: { kid, key } };
  });
}

/** `GET /v1/keys/{kid}` @throws Refused */
export async function getKey(app: App, caller: MachineCaller, kid: string): Promise<KeyResponse> {
  return asMachine(app, caller, async (transaction, machine) => {
    const key = await transaction.key(kid);
    if (!isIts(machine, key)) return refuseUnknown(transaction, machine, caller, app.store.now(), null);
    return granted(machine, { kid, key: JSON.parse(key.public) });
  });
}

/** `DELETE /v1/keys/{kid}`: destroyed after 7 days, until then an operator can bring it back. @throws Refused */
export async function deleteKey(
  app: App,
  caller: MachineCaller,
  kid: string,
): Promise<InferOutput<typeof deleteKeyWire.response>> {
  const { from, requestId } = caller;
  return asMachine(app, caller, async (transaction, machine) => {
    const key = await transaction.key(kid);
    const now = app.store.now();
    const entry = { who: 'machine', what: 'delete-key', key: kid, from, requestId };
    if (!isIts(machine, key)) return refuseUnknown(transaction, machine, caller, now, entry);
    const step = await happen(transaction, machine, { type: 'delete-key', from }, now, entry);
    if (step.refusal === null) await transaction.setDeleted(kid, now.leaseMs);
    return { ...step, value: { kid } };
  });
}

/**
 * `POST /v1/keys/{kid}/recover`: the exchange. State and record are committed before the answer is even computed.
 * @throws Refused; AppError `bad-request`: a point off its curve
 */
export async function recover(
  app: App,
  caller: MachineCaller,
  kid: string,
  { point, boot }: InferOutput<typeof recoverWire.request>,
): Promise<InferOutput<typeof recoverWire.response>> {
  const blinded = parseEcKey(point, (reason) => new AppError('bad-request', `point: ${reason}`));
  const { from, requestId } = caller;
  using secret = await asMachine(app, caller, async (transaction, machine) => {
    const key = await transaction.key(kid);
    const entry = { who: 'machine', what: 'recover', key: kid, from, requestId };
    const now = app.store.now();
    if (!isIts(machine, key) || key.curve !== blinded.curve.name) {
      return refuseUnknown(transaction, machine, caller, now, entry);
    }
    const event = { type: 'recover', kid, requestId, boot, from } as const;
    const step = await happen(transaction, machine, event, now, entry);
    return { ...step, value: step.refusal === null ? await key.open() : null };
  });
  app.counters.releases++;
  const answer = toJwk(await answerTo(secret, blinded));
  return { point: { ...answer, crv: blinded.curve.name } };
}

/** Of another machine, deleted, or none at all: told alike. */
function isIts(machine: Machine, key: ExchangeKey | null): key is ExchangeKey {
  return key !== null && key.machine === machine.id && key.deletedMs === null;
}
