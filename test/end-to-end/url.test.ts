import { writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createAuthority, daysFromNow, type Identity, type Wanted } from '../support/certificates.ts';
import { answer, serveBytes } from '../support/servers.ts';
import { type Outcome, setStage } from '../support/stage.ts';

const KEY = Buffer.from('a key\nwith two lines\n');
const authority = createAuthority('the authority');
const stranger = createAuthority('a stranger');
const folder = t.testdir({ 'ca.pem': authority.certificate });
const ca = `${folder}/ca.pem`;
const ours: Wanted = { names: ['127.0.0.1'] };
const identity = authority.issue(ours);

/** @returns the port */
async function serve(t: Test, listener: RequestListener, { certificate, key }: Identity = identity): Promise<number> {
  return listen(t, createTlsServer({ cert: certificate, key }, listener), 0);
}

async function listen(t: Test, server: Server, port: number): Promise<number> {
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  t.teardown(() => new Promise((done) => server.close(done)));
  return (server.address() as AddressInfo).port;
}
