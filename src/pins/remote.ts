import { createHmac, hash } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { keyPinText, parseKeyPin } from '../base/key-pin.ts';
import type { Secret } from '../base/secret.ts';
import type { EcPoint } from '../exchange/curve.ts';
import { parseEcKey, thumbprint, toJwk } from '../exchange/jwk.ts';
import { damaged, isObject, type Jwe, shown } from '../jwe/compact.ts';
import { beginRecovery, openWith, ownPoint, sealTo } from './exchange.ts';
import { pinHeader } from './header.ts';
import type { KeyServer, OpenContext, Pin } from './pin.ts';

/**
 * The content key comes back from an exchange with luks-key-server, which knows this machine. The header names the
 * server by its key alone, `clevis.remote.server`; where it is comes from config.yaml.
 */
export const remote: Pin = {
  name: 'remote',

  parse(jwe) {
    const own = pinHeader(jwe, 'remote', 'ECDH-ES');
    if (own === null) return null;
    const server = parseKeyPin(own['server']);
    if (server === null) {
      throw damaged(
        `header field clevis.remote.server: expected sha256/BASE64URL, got ${shown(own['server'])}`,
      );
    }
    const sealed = { jwe, server, ...exchangeOf(jwe, own['key']) };
    const title = `remote ${keyPinText(server).slice(0, 15)}…`;
    return {
      pin: 'remote',
      title,
      uses: [{ pin: 'remote', server, kid: sealed.kid }],
      open: (context, signal) =>
        context.attempt(titleFor(context, server, title), signal, (once) => recover(sealed, context, once)),
    };
  },

  async seal(config, secret, context) {
    const { server: name, crv } = parseConfig(config);
    const server = context.servers.byName(name);
    if (server === null) {
      throw new AppError('bad-config', `pin remote: no server ${shown(name)} in config.yaml`, {
        hint: 'join it first: luks-key-server invite there, fetch-luks-key join here',
      });
    }
    const alive = hash('sha256', aliveProof(context.whole, server.pinSha256), 'base64url');
    const { kid, key } = await server.createKey(crv, alive, context.signal);
    const point = parseEcKey(
      key,
      (reason) => new AppError('unavailable', `remote ${name}: its key: ${reason}`),
    );
    if (thumbprint(toJwk(point), 'S256') !== kid) {
      throw new AppError('unavailable', `remote ${name}: its key is not the one that it names`);
    }
    const clevis = { pin: 'remote', remote: { server: keyPinText(server.pinSha256), key: toJwk(point) } };
    return sealTo(point, clevis, secret, context.random);
  },
};

/**
 * What only who has opened the whole key can tell the server: it has this proof's SHA-256 from sealing.
 * @param whole the secret that was sealed, not a share of it
 */
export function aliveProof(whole: Secret, serverPin: Uint8Array): Buffer {
  return createHmac('sha256', whole.reveal()).update('fetch-luks-key alive 1\n').update(serverPin).digest();
}

interface Sealed {
  readonly jwe: Jwe;
  readonly server: Buffer;
  readonly kid: string;
  readonly epk: EcPoint;
  readonly serverKey: EcPoint;
}

/** @throws AppError `damaged` */
function exchangeOf(jwe: Jwe, key: unknown): Pick<Sealed, 'kid' | 'epk' | 'serverKey'> {
  const serverKey = parseEcKey(key, (reason) => damaged(`header field clevis.remote.key: ${reason}`));
  const kid = thumbprint(toJwk(serverKey), 'S256');
  if (jwe.header['kid'] !== kid) {
    throw damaged(`header field kid: expected that of clevis.remote.key, got ${shown(jwe.header['kid'])}`);
  }
  return { kid, serverKey, epk: ownPoint(jwe, serverKey) };
}

function titleFor({ servers }: OpenContext, pinSha256: Buffer, otherwise: string): string {
  const server = servers.byPin(pinSha256);
  return server === null ? otherwise : `remote ${server.name}`;
}

async function recover(sealed: Sealed, { servers }: OpenContext, signal: AbortSignal): Promise<Secret> {
  const server = servers.byPin(sealed.server);
  if (server === null) {
    throw new AppError('bad-config', `no server in config.yaml has the key ${keyPinText(sealed.server)}`, {
      hint: 'this machine has left it, or the server has a new key',
    });
  }
  const recovery = await beginRecovery(sealed.epk, sealed.serverKey);
  const answer = await answerOf(server, sealed, toJwk(recovery.blinded), signal);
  const plaintext = await openWith(sealed.jwe, recovery, answer);
  // The server is authenticated: it is the sealed key that is not what it was.
  if (plaintext === null) throw damaged('the answer of its server does not open it');
  return plaintext;
}

async function answerOf(
  server: KeyServer,
  { kid, serverKey }: Sealed,
  blinded: ReturnType<typeof toJwk>,
  signal: AbortSignal,
): Promise<EcPoint> {
  const wrong = (reason: string) => new AppError('unavailable', `answer: ${reason}`);
  const answer = parseEcKey(await server.recover(kid, blinded, signal), wrong);
  if (answer.curve === serverKey.curve) return answer;
  throw wrong(`expected crv "${serverKey.curve.name}", got "${answer.curve.name}"`);
}

/** `{"server": NAME, "crv": "P-256" | "P-521"}`; P-256 when absent. */
function parseConfig(config: unknown): { server: string; crv: 'P-256' | 'P-521' } {
  const bad = (field: string, expected: string, got: unknown) =>
    new AppError('bad-config', `pin remote: ${field}: expected ${expected}, got ${shown(got)}`, {
      hint: 'for example {"server":"home"}',
    });
  if (!isObject(config)) throw bad('configuration', 'an object', config);
  const { server, crv = 'P-256', ...others } = config;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw bad('configuration', 'only server and crv', unknown);
  if (typeof server !== 'string') throw bad('server', "a server's name in config.yaml", server);
  if (crv !== 'P-256' && crv !== 'P-521') throw bad('crv', 'P-256 or P-521', crv);
  return { server, crv };
}
