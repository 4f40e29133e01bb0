import { AppError } from '../../base/errors.ts';
import { printable } from '../../base/printable.ts';
import { answerTo } from '../../exchange/answer.ts';
import { hasThumbprint, parseEcKey, toJwk } from '../../exchange/jwk.ts';
import { leaseLeftMs } from '../machine/state.ts';
import type { ExchangeKey, Machine, Transaction } from '../store/store.ts';
import type { App, Caller } from './app.ts';
import { isProof } from './keepalive.ts';
import { asMachineBy, type Granted, happen, Refused, stateOf } from './machine.ts';
import { newRequestId, type Outgoing, type RequestLog, refusedFor } from './serve.ts';
import { type TangAdvertisement, tangAdvertisement } from './tang-invite.ts';

/** One request as the Tang listener hands it over. */
export interface TangIncoming {
  readonly method: string;
  readonly target: string;
  readonly body: Buffer;
  readonly address: string;
}

/** Where a machine's Tang face lies, and what is asked there. */
export interface TangRoute {
  /** The machine's address: random, and no secret. */
  readonly id: string;
  readonly what: 'adv' | 'rec' | 'alive';
  /** A key's thumbprint; `''` where there is none. */
  readonly thumbprint: string;
}

/** @returns null for any other target */
export function tangRoute(target: string): TangRoute | null {
  const [, id, rest = '', thumbprint = ''] =
    /^\/t\/([A-Za-z0-9_-]{22})\/(adv\/?|alive|(?:adv|rec)\/([A-Za-z0-9_-]{1,43}))$/.exec(target) ?? [];
  const [what] = rest.split('/');
  if (id === undefined || (what !== 'adv' && what !== 'rec' && what !== 'alive')) return null;
  return { id, what, thumbprint };
}

/** Answers as tangd(8) does, for one machine; what goes wrong is told as it is told to machines that have joined. */
export async function serveTang(app: App, incoming: TangIncoming, log: RequestLog): Promise<Outgoing> {
  const { method, target, body, address: from } = incoming;
  const requestId = newRequestId(app.random);
  const who = { from, requestId };
  try {
    const route = tangRoute(target);
    const asked = `${method} ${route?.what}`;
    if (route !== null && asked === 'GET adv') {
      return { status: 200, json: await advertise(app, who, route), type: 'application/jose+json' };
    }
    if (route !== null && asked === 'POST rec') {
      return { status: 200, json: await recover(app, who, route, body), type: 'application/jwk+json' };
    }
    if (route !== null && asked === 'POST alive')
      return { status: 200, json: await alive(app, who, route, body) };
    throw new Refused('unknown', 'no such route');
  } catch (thrown) {
    return refusedFor(app, thrown, `${from} ${method} ${printable(target)}`, requestId, log);
  }
}

/** `GET /t/ID/adv[/THP]`: what a key is sealed with. With a thumbprint, only if that key signed it. @throws Refused */
async function advertise(app: App, who: Caller, { id, thumbprint }: TangRoute): Promise<unknown> {
  const { from, requestId } = who;
  return await asMachineBy('tang', id, app, who, async (transaction, machine) => {
    const own = await tangKey(transaction, machine);
    const isIts = thumbprint === '' || (own !== null && hasThumbprint(own.signer, thumbprint));
    if (!isIts && !isRevoked(machine)) return unknownHere(machine);
    const entry = { who: 'machine', what: 'advertise', from, requestId };
    const step = await happen(transaction, machine, { type: 'advertise', from }, app.store.now(), entry);
    return { ...step, value: own?.jws ?? null };
  });
}

/**
 * `POST /t/ID/rec/KID`: the exchange. State and record are committed before the answer is even computed.
 * @throws Refused; AppError `bad-request`: a point off its curve
 */
async function recover(app: App, who: Caller, { id, thumbprint }: TangRoute, body: Buffer): Promise<unknown> {
  const blinded = parseEcKey(jsonIn(body), (reason) => new AppError('bad-request', `body: ${reason}`));
  const { from, requestId } = who;
  using secret = await asMachineBy('tang', id, app, who, async (transaction, machine) => {
    const own = await tangKey(transaction, machine);
    // Clevis before version 17 knows a key by its SHA-1.
    const isIts =
      own !== null && hasThumbprint(own.exchange, thumbprint) && own.key.curve === blinded.curve.name;
    if (!isIts && !isRevoked(machine)) return unknownHere(machine);
    const kid = own?.key.kid ?? thumbprint;
    const event = { type: 'recover', kid, requestId, boot: null, from } as const;
    const entry = { who: 'machine', what: 'recover', key: kid, from, requestId };
    const step = await happen(transaction, machine, event, app.store.now(), entry);
    return { ...step, value: step.refusal === null && own !== null ? await own.key.open() : null };
  });
  app.counters.releases++;
  return { alg: 'ECMR', ...toJwk(await answerTo(secret, blinded)), key_ops: ['deriveKey'] };
}

/** `POST /t/ID/alive`: the body is the second secret, which stands for the alive proof. @throws Refused */
async function alive(app: App, who: Caller, { id }: TangRoute, body: Buffer): Promise<unknown> {
  const proof = body.toString('latin1').trim();
  const left = await asMachineBy('tang', id, app, who, async (transaction, machine) => {
    const state = stateOf(machine);
    if (!Object.keys(state.alive).some((kid) => isProof(state, { kid, proof }))) return unknownHere(machine);
    const now = app.store.now();
    const event = { type: 'keepalive', proven: true, boot: null, from: who.from } as const;
    const step = await happen(transaction, machine, event, now, null);
    return { ...step, value: { 'lease-left-ms': leaseLeftMs(stateOf(step.machine), now.leaseMs) } };
  });
  app.counters.keepalives++;
  return left;
}

/** What anybody can ask who knows an address: it is told in the log, changes nothing, and calls nobody. */
function unknownHere(machine: Machine): Granted<never> {
  return { machine, refusal: isRevoked(machine) ? 'revoked' : 'unknown', alerts: [], value: null };
}

function isRevoked(machine: Machine): boolean {
  return stateOf(machine).status === 'revoked';
}

/** The one exchange key of such a machine, and what is told of it; null once it is revoked. */
async function tangKey(
  transaction: Transaction,
  machine: Machine,
): Promise<(TangAdvertisement & { readonly key: ExchangeKey }) | null> {
  const [key] = await transaction.keysOf(machine.id);
  return key === undefined ? null : { key, ...tangAdvertisement(key) };
}

/** @throws AppError `bad-request` */
function jsonIn(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    throw new AppError('bad-request', 'body: not JSON');
  }
}
