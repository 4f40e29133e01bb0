import type { ServeOptions } from '../cli/server/world.ts';
import type { Identity } from '../identity/identity.ts';
import { clock } from '../os/clock.ts';
import { serveHttps } from '../os/https-server.ts';
import { journal } from '../os/journal.ts';
import { listeningSockets } from '../os/listen-fds.ts';
import { serveLocally } from '../os/local-server.ts';
import { machineFront } from '../server/front/machine-front.ts';
import { operatorFront } from '../server/front/operator-front.ts';
import { type Measured, serveMetrics } from './metrics.ts';
import { serveTangFace } from './tang-face.ts';

export interface Listeners {
  /** Where machines connect. */
  readonly port: number;
  /** Goes over to another key: what is in flight is finished, then every connection of a machine ends. */
  renew(identity: Identity): Promise<void>;
  /** Finishes what is in flight. */
  stop(): Promise<void>;
}

/** @throws AppError `unavailable` (an address is taken, or not ours), `bad-config` (a certificate, or its key) */
export async function startListeners(
  options: ServeOptions,
  { certificate, key }: Identity,
  parts: Omit<Measured, 'listeners'>,
): Promise<Listeners> {
  const { app } = parts;
  const fd = listeningSockets(process.env, ['luks-key-server']).get('luks-key-server');
  const place = fd === undefined ? options.listen : { fd };
  const https = { certificate, key, asksForKey: true, place };
  const machines = await serveHttps(https, machineFront({ app, log: journal, clock }));
  const tang = options.tang === null ? null : await serveTangFace(options.tang, app);
  const operators = await serveLocally(options.socket, operatorFront(app, journal));
  const listeners = { machines, tang, operators };
  const metrics =
    options.metrics === null ? null : await serveMetrics(options.metrics.listen, { ...parts, listeners });
  return {
    port: machines.port,
    renew: (identity) => machines.renew(identity),
    async stop() {
      await Promise.all([machines.stop(), tang?.stop(), operators.stop(), metrics?.stop()]);
    },
  };
}
