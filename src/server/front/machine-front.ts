import { AppError } from '../../base/errors.ts';
import type { HttpCall, HttpReply, HttpService, Peer } from '../../base/http-service.ts';
import { limits } from '../../base/limits.ts';
import type { Clock, Logger } from '../../base/ports.ts';
import type { RefusalCode } from '../../wire/refusal.ts';
import type { App } from '../api/app.ts';
import { newRequestId, type Outgoing, refused, serve } from '../api/serve.ts';
import { parsedBody } from './body.ts';
import { defaultRates, type Rates, ratesOf } from './rates.ts';
import { replyOf } from './reply.ts';

export interface FrontOptions {
  readonly app: App;
  readonly log: Logger;
  readonly clock: Clock;
  readonly rates?: Rates;
}

/** What the network meets: limits first, then the request's form, then what it asks. */
export function machineFront(options: FrontOptions): HttpService {
  const front = { rates: ratesOf(defaultRates), ...options };
  return {
    admits: (address) => front.rates.admits(address, front.clock.nowMs(), front.log.warning),
    crowded: (line) => front.log.warning(line),
    answer: (call) => answer(front, call),
    refuse(reason, peer) {
      const excess = excessOf(front, peer);
      return replyOf(no(front, 'bad-request', reason, peer, excess === null ? front.log : null), true);
    },
  };
}

type Front = Required<FrontOptions>;

async function answer(front: Front, call: HttpCall): Promise<HttpReply> {
  const { peer } = call;
  const excess = excessOf(front, peer);
  if (excess !== null) {
    const { reason, isNews } = excess;
    return replyOf(no(front, 'too-many', reason, peer, isNews ? front.log : null), true);
  }
  const outgoing = await inTime(front, call).catch((thrown: unknown) => {
    const code = thrown instanceof AppError && thrown.code === 'bad-request' ? 'bad-request' : 'unavailable';
    return no(front, code, thrown instanceof Error ? thrown.message : String(thrown), peer, front.log);
  });
  // Only machines keep a connection: to everybody else each request costs a handshake.
  return replyOf(outgoing, outgoing.status !== 200 && outgoing.status !== 403);
}

/** @throws AppError `bad-request`, `unavailable`: no answer in time; it may still be committed */
async function inTime(front: Front, call: HttpCall): Promise<Outgoing> {
  const { method, target, peer, signal } = call;
  const over = new AbortController();
  const late = front.clock.sleep(limits.serverAnswerMs, over.signal).then(() => {
    throw new AppError('unavailable', `no answer within ${limits.serverAnswerMs} ms`);
  });
  try {
    const body = await Promise.race([parsedBody(call), late]);
    const { address, clientPin } = callerOf(peer);
    const serving = serve(front.app, { method, path: target, body, address, clientPin, signal }, front.log);
    return await Promise.race([serving, late]);
  } finally {
    late.catch(() => {});
    over.abort();
  }
}

/** A local peer has nothing to ask here: it is nobody. */
function callerOf(peer: Peer): { address: string; clientPin: Buffer | null } {
  if (peer.kind === 'local') return { address: '', clientPin: null };
  return { address: peer.address, clientPin: peer.pinSha256 };
}

function excessOf({ rates, clock }: Front, peer: Peer): ReturnType<Rates['excess']> {
  const { address, clientPin } = callerOf(peer);
  return rates.excess(address, clientPin, clock.nowMs());
}

function no({ app }: Front, code: RefusalCode, reason: string, peer: Peer, log: Logger | null): Outgoing {
  const where = callerOf(peer).address;
  return refused({ code, reason, where, requestId: newRequestId(app.random) }, log);
}
