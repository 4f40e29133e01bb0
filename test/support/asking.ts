import { Agent, request } from 'node:https';
import { generateEphemeral } from '../../src/exchange/agreement.ts';
import { curves } from '../../src/exchange/curve.ts';
import { toJwk } from '../../src/exchange/jwk.ts';
import type { Asker } from './fleet.ts';

const POINT = { ...toJwk(generateEphemeral(curves['P-256']).point), crv: 'P-256' };

/** A machine of a fleet, as it asks a server that may be gone in the midst of it. */
export class AskingMachine {
  readonly asker: Asker;
  readonly #url: string;
  readonly #agent: Agent;

  constructor(asker: Asker, url: string) {
    this.asker = asker;
    this.#url = url;
    const { certificate, key } = asker.identity;
    this.#agent = new Agent({ keepAlive: true, cert: certificate, key, rejectUnauthorized: false });
  }

  /** @returns the answer's status; null when there was none */
  recover(): Promise<number | null> {
    return this.#post(`/v1/keys/${this.asker.kid}/recover`, { point: POINT, boot: this.asker.boot });
  }

  keepAlive(): Promise<number | null> {
    const { boot, kid, proof } = this.asker;
    return this.#post('/v1/keepalive', { boot, proof: { kid, proof } });
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(path: string, body: object): Promise<number | null> {
    const options = {
      method: 'POST',
      agent: this.#agent,
      headers: { 'content-type': 'application/json' },
      localAddress: this.asker.address,
    };
    return new Promise((resolve) => {
      const sent = request(this.#url + path, options, (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode ?? null));
        response.once('error', () => resolve(null));
        response.once('close', () => resolve(null));
      });
      sent.once('error', () => resolve(null));
      sent.end(JSON.stringify(body));
    });
  }
}
