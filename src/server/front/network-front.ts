import { AppError } from '../../base/errors.ts';
import type { HttpCall, HttpReply, HttpService, Peer } from '../../base/http-service.ts';
import type { Clock, Logger } from '../../base/ports.ts';
import { serverLimits } from '../../base/server-limits.ts';
import type { RefusalCode } from '../../wire/refusal.ts';
import type { App } from '../api/app.ts';
import { newRequestId, type Outgoing, type RequestLog, refused } from '../api/serve.ts';
import { defaultRates, type Rates, ratesOf } from './rates.ts';
import { replyOf } from './reply.ts';

export interface FrontOptions {
  readonly app: App;
  readonly log: Logger;
  readonly clock: Clock;
  readonly rates?: Rates;
}

/** What is asked on one listener, and by whom. */
export interface Face<Body> {
  /** @returns whose rate a request counts towards, beside its address's; null = a stranger's. A target is a stranger's text */
  machineOf(peer: Peer, target: string): string | null;
  /** @throws AppError `bad-request`, `stopped` */
  read(call: HttpCall): Promise<Body>;
  /** Never rejects for what was asked. @param address `''` for a local peer, who is nobody here */
  serve(call: HttpCall, body: Body, address: string, log: RequestLog): Promise<Outgoing>;
}

/** What the network meets: limits first, then the request's form, then what it asks. */
export function networkFront<Body>(options: FrontOptions, face: Face<Body>): HttpService {
  const front = { rates: ratesOf(defaultRates), ...options, face };
  return {
    admits: (address) => front.rates.admits(address, front.clock.nowMs(), front.log.warning),
    crowded: (line) => front.log.warning(line),
    answer: (call) => answer(front, call),
    refuse(reason, peer) {
      const excess = excessOf(front, peer, '');
      return replyOf(
        no(front, 'bad-request', reason, peer, excess === null ? requestLog(front, addressOf(peer)) : null),
        true,
      );
    },
  };
}

type Front<Body> = Required<FrontOptions> & { readonly face: Face<Body> };

async function answer<Body>(front: Front<Body>, call: HttpCall): Promise<HttpReply> {
  const { peer } = call;
  const excess = excessOf(front, peer, call.target);
  if (excess !== null) {
    const { reason, isNews } = excess;
    return replyOf(
      no(front, 'too-many', reason, peer, isNews ? requestLog(front, addressOf(peer)) : null),
      true,
    );
  }
  const outgoing = await inTime(front, call).catch((thrown: unknown) => {
    const code = thrown instanceof AppError && thrown.code === 'bad-request' ? 'bad-request' : 'unavailable';
    return no(
      front,
      code,
      thrown instanceof Error ? thrown.message : String(thrown),
      peer,
      requestLog(front, addressOf(peer)),
    );
  });
  // Only machines keep a connection: to everybody else each request costs a handshake.
  return replyOf(outgoing, outgoing.status !== 200 && outgoing.status !== 403);
}

/** @throws AppError `bad-request`, `unavailable`: no answer in time; it may still be committed */
async function inTime<Body>(front: Front<Body>, call: HttpCall): Promise<Outgoing> {
  const { face, clock } = front;
  const address = addressOf(call.peer);
  const log = requestLog(front, address);
  const over = new AbortController();
  const late = clock.sleep(serverLimits.answerMs, over.signal).then(() => {
    throw new AppError('unavailable', `no answer within ${serverLimits.answerMs} ms`);
  });
  try {
    const body = await Promise.race([face.read(call), late]);
    return await Promise.race([face.serve(call, body, address, log), late]);
  } finally {
    late.catch(() => {});
    over.abort();
  }
}

function addressOf(peer: Peer): string {
  return peer.kind === 'local' ? '' : peer.address;
}

/** @param address whose requests it tells of */
function requestLog<Body>({ log, rates, clock }: Front<Body>, address: string): RequestLog {
  return {
    error: log.error,
    warning: log.warning,
    stranger(line) {
      const told = rates.tells(address, clock.nowMs());
      if (told === 'taken') log.warning(line);
      if (told === 'just-over') log.warning(`${line}; and more of that, which is not told`);
    },
  };
}

function excessOf<Body>({ rates, clock, face }: Front<Body>, peer: Peer, target: string) {
  return rates.excess(addressOf(peer), face.machineOf(peer, target), clock.nowMs());
}

function no<Body>(
  { app }: Front<Body>,
  code: RefusalCode,
  reason: string,
  peer: Peer,
  log: RequestLog | null,
): Outgoing {
  return refused(app, { code, reason, where: addressOf(peer), requestId: newRequestId(app.random) }, log);
}
