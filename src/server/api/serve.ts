import { AppError } from '../../base/errors.ts';
import type { Random } from '../../base/ports.ts';
import { printable } from '../../base/printable.ts';
import { type RefusalCode, refusalStatus } from '../../wire/refusal.ts';
import type { App, Caller } from './app.ts';
import { Refused } from './machine.ts';
import { type Route, routeFor } from './routes.ts';

/** One request as the listener hands it over. */
export interface Incoming {
  readonly method: string;
  /** Without its query, which no route has. */
  readonly path: string;
  /** JSON, parsed; undefined when there was none. */
  readonly body: unknown;
  readonly address: string;
  readonly clientPin: Buffer | null;
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal;
}

export type Outgoing =
  /** @field type its media type, where it is not `application/json` */
  | { readonly status: number; readonly json: unknown; readonly type?: string }
  | { readonly status: 200; readonly events: AsyncIterable<unknown> };

/** Where it is told why somebody got nothing. */
export interface RequestLog {
  error(line: string): void;
  warning(line: string): void;
  /** What anybody can cause, as often as he likes: not each of a flood. */
  stranger(line: string): void;
}

/** Neutral: the same to a stranger as to a friend. */
const messages: Readonly<Record<RefusalCode, string>> = {
  locked: 'not now',
  revoked: 'not any more',
  'approval-pending': 'somebody has to approve this',
  'not-allowed-from': 'not from here',
  'count-used': 'not again',
  unknown: 'not known here',
  'bad-request': 'not understood',
  'too-many': 'too many requests',
  unavailable: 'not available now',
};

/** Answers a machine. What goes wrong is logged with the request's id, which is all that the machine learns of it. */
export async function serve(app: App, incoming: Incoming, log: RequestLog): Promise<Outgoing> {
  const { method, path, body, address: from, clientPin, signal } = incoming;
  const requestId = newRequestId(app.random);
  try {
    const { route, kid } = routeFor(method, path);
    const answer = await asked(route, { from, requestId }, clientPin)(app, kid, body, signal);
    if (route.answers === 'json') return { status: 200, json: answer };
    return { status: 200, events: answer as AsyncIterable<unknown> };
  } catch (thrown) {
    return refusedFor(app, thrown, `${from} ${method} ${printable(path)}`, requestId, log);
  }
}

type Answering = (app: App, kid: string, body: unknown, signal: AbortSignal) => Promise<unknown>;

/**
 * A route, asked by the principal that it takes: no handler is told of a key that it is not to be asked with.
 * @param clientPin null: no key was shown
 * @throws Refused
 */
function asked(route: Route, caller: Caller, clientPin: Buffer | null): Answering {
  if (route.principal === 'none') return (app, ...rest) => route.handle(app, caller, ...rest);
  if (route.principal === 'newcomer') {
    if (clientPin === null) throw new Refused('bad-request', 'no client certificate was shown');
    return (app, ...rest) => route.handle(app, { ...caller, newPin: clientPin }, ...rest);
  }
  if (clientPin === null) throw new Refused('unknown', 'no client certificate was shown');
  return (app, ...rest) => route.handle(app, { ...caller, machinePin: clientPin }, ...rest);
}

/** @param thrown what kept a request from being answered */
export function refusedFor(
  app: App,
  thrown: unknown,
  where: string,
  requestId: string,
  log: RequestLog,
): Outgoing {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return refused(app, { code: codeOf(thrown), reason, where, requestId }, log);
}

export interface Refusal {
  readonly code: RefusalCode;
  /** Inside: for the log alone. It may hold a stranger's text. */
  readonly reason: string;
  readonly where: string;
  readonly requestId: string;
}

/** What whoever was refused is told; why, under the same id, the log. @param log null for one of a flood */
export function refused({ counters }: App, refusal: Refusal, log: RequestLog | null): Outgoing {
  const { code, reason, where, requestId } = refusal;
  counters.refusals[code]++;
  const line = `${where}: ${code}: ${reason.replace(/[^ -~]+/g, ' ').slice(0, 500)} [${requestId}]`;
  if (code === 'unavailable') log?.error(line);
  else if (code === 'unknown' || code === 'bad-request') log?.stranger(line);
  else log?.warning(line);
  return { status: refusalStatus[code], json: { code, message: messages[code], 'request-id': requestId } };
}

/** Shown to people, who type it to approve a request: 16 hex digits, which no command takes for an option. */
export function newRequestId(random: Random): string {
  return random.bytes(8).toString('hex');
}

function codeOf(thrown: unknown): RefusalCode {
  if (thrown instanceof Refused) return thrown.code;
  return thrown instanceof AppError && thrown.code === 'bad-request' ? 'bad-request' : 'unavailable';
}
