import { type GenericSchema, safeParse } from 'valibot';
import { AppError } from '../../base/errors.ts';
import * as wire from '../../wire/machine.ts';
import type { App, Caller, MachineCaller, Newcomer } from './app.ts';
import { digests } from './audit-digests.ts';
import { claim } from './claims.ts';
import { join } from './join.ts';
import { expect, keepalive } from './keepalive.ts';
import { createKey, deleteKey, getKey, recover } from './keys.ts';
import { Refused } from './machine.ts';
import { watch } from './watch.ts';

/** Who may ask, and what a route is told of him. */
interface Principals {
  /** Anybody. */
  readonly none: Caller;
  /** Who joins has no name yet, but a key. */
  readonly newcomer: Newcomer;
  readonly machine: MachineCaller;
}

type Principal = keyof Principals;

interface RouteFor<P extends Principal> {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly principal: P;
  readonly summary: string;
  readonly request: GenericSchema | null;
  readonly response: GenericSchema;
  readonly answers: 'json' | 'events';
  handle(app: App, caller: Principals[P], kid: string, body: unknown, signal: AbortSignal): Promise<unknown>;
}

/** What may be asked on the machines' listener. `path` has at most one parameter, a key's id. */
export type Route = { [P in Principal]: RouteFor<P> }[Principal];

interface Handled<P extends Principal, Request> {
  readonly method: Route['method'];
  readonly path: string;
  readonly principal: P;
  readonly summary: string;
  readonly wire: { readonly request: GenericSchema<unknown, Request>; readonly response: GenericSchema };
  handle(app: App, caller: Principals[P], kid: string, body: Request): Promise<unknown>;
}

/** A route with a body: `handle` gets it as its schema has read it. */
function withBody<P extends Principal, Request>(handled: Handled<P, Request>): RouteFor<P> {
  const {
    wire: { request, response },
    handle,
    ...rest
  } = handled;
  return {
    ...rest,
    request,
    response,
    answers: 'json',
    handle(app, caller, kid, body) {
      const result = safeParse(request, body);
      if (result.success) return handle(app, caller, kid, result.output);
      const [issue] = result.issues;
      const where = issue.path?.map((item) => String(item.key)).join('.') ?? 'body';
      throw new AppError('bad-request', `${where}: ${issue.message}`);
    },
  };
}

export const routes: readonly Route[] = [
  withBody({
    method: 'POST',
    path: '/v1/join',
    principal: 'newcomer',
    summary: 'use an invitation up: the key of the TLS client certificate becomes the machine’s',
    wire: wire.join,
    handle: (app, caller, _, body) => join(app, caller, body),
  }),
  withBody({
    method: 'POST',
    path: '/v1/keys',
    principal: 'machine',
    summary: 'make an exchange key',
    wire: wire.createKey,
    handle: (app, caller, _, body) => createKey(app, caller, body),
  }),
  {
    method: 'GET',
    path: '/v1/keys/{kid}',
    principal: 'machine',
    summary: 'the public half of an exchange key',
    request: null,
    response: wire.getKey.response,
    answers: 'json',
    handle: (app, caller, kid) => getKey(app, caller, kid),
  },
  {
    method: 'DELETE',
    path: '/v1/keys/{kid}',
    principal: 'machine',
    summary: 'delete an exchange key; it is destroyed after 7 days',
    request: null,
    response: wire.deleteKey.response,
    answers: 'json',
    handle: (app, caller, kid) => deleteKey(app, caller, kid),
  },
  withBody({
    method: 'POST',
    path: '/v1/keys/{kid}/recover',
    principal: 'machine',
    summary: 'the exchange: the blinded point, multiplied',
    wire: wire.recover,
    handle: (app, caller, kid, body) => recover(app, caller, kid, body),
  }),
  withBody({
    method: 'POST',
    path: '/v1/keepalive',
    principal: 'machine',
    summary: 'keep the machine armed, with the alive proof',
    wire: wire.keepalive,
    handle: (app, caller, _, body) => keepalive(app, caller, body),
  }),
  withBody({
    method: 'POST',
    path: '/v1/expect',
    principal: 'machine',
    summary: 'announce a reboot',
    wire: wire.expect,
    handle: (app, caller, _, body) => expect(app, caller, body),
  }),
  withBody({
    method: 'POST',
    path: '/v1/audit/digests',
    principal: 'machine',
    summary: 'digests of audit records, by which a machine sees that a head extends the one that it saw last',
    wire: wire.auditDigests,
    handle: (app, caller, _, body) => digests(app, caller, body),
  }),
  withBody({
    method: 'POST',
    path: '/v1/alerts',
    principal: 'machine',
    summary: 'what a machine says of itself, recorded as its claim',
    wire: wire.alert,
    handle: (app, caller, _, body) => claim(app, caller, body),
  }),
  {
    method: 'GET',
    path: '/v1/identity',
    principal: 'none',
    summary: 'the server’s keys, each with its signature under the next one',
    request: null,
    response: wire.identity.response,
    answers: 'json',
    handle: async ({ keys }) => ({ chain: keys.chain }),
  },
  {
    method: 'GET',
    path: '/v1/watch',
    principal: 'machine',
    summary: 'the machine’s status now and after each change, as server-sent events',
    request: null,
    response: wire.watchEvent,
    answers: 'events',
    handle: (app, caller, _, __, signal) => watch(app, caller, signal),
  },
];

/** @returns the route and the key's id in its path, '' where it has none. @throws Refused when there is none */
export function routeFor(method: string, path: string): { route: Route; kid: string } {
  for (const route of routes) {
    if (route.method !== method) continue;
    const [before = '', after] = route.path.split('{kid}');
    if (after === undefined) {
      if (path === route.path) return { route, kid: '' };
    } else if (path.startsWith(before) && path.endsWith(after)) {
      const kid = path.slice(before.length, path.length - after.length);
      if (/^[A-Za-z0-9_-]{43}$/.test(kid)) return { route, kid };
    }
  }
  throw new Refused('unknown', `no route ${method} ${path}`);
}
