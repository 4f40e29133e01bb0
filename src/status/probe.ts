import { fromBase64url } from '../base/bytes.ts';
import { AppError, asAppError } from '../base/errors.ts';
import type { Http } from '../base/ports.ts';
import { generateEphemeral } from '../exchange/agreement.ts';
import { curves } from '../exchange/curve.ts';
import { type EcJwk, thumbprint, toJwk } from '../exchange/jwk.ts';
import { isObject } from '../jwe/compact.ts';
import type { Parsec } from '../parsec/parsec.ts';
import { askTang } from '../pins/tang-server.ts';
import type { TpmLook } from '../tpm/look.ts';
import type { PinPolicy } from './policy.ts';
import type { ServerStatus } from './server.ts';

export interface ProbeWorld {
  readonly http: Http;
  readonly parsec: Parsec;
  readonly tpmLook: TpmLook;
  /** What the key servers say, by their keys; null: config.yaml has none such. */
  serverOf(pinSha256: Buffer): ServerStatus | null;
}

/**
 * Whether a pin would answer now, in a way that reveals nothing: the TPM loads and compares but does not unseal, a Tang
 * server multiplies a random point, a key server says what it has,
 * Parsec names its providers.
 * @returns null: it would; else why not
 * @throws AppError `stopped`
 */
export async function probe(
  pin: PinPolicy,
  world: ProbeWorld,
  signal: AbortSignal,
): Promise<AppError | null> {
  try {
    if (pin.pin === 'tpm2') await world.tpmLook.wouldUnseal(pin.object, signal);
    else if (pin.pin === 'tang') await probeTang(pin, world, signal);
    else if (pin.pin === 'remote') probeRemote(pin, world);
    else if (pin.pin === 'parsec') await probeParsec(pin.provider, world.parsec, signal);
    // Of systemd-creds only decrypting would tell: it is taken to answer.
    return null;
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    return asAppError(thrown);
  }
}

/**
 * A key that the server advertises is there. One that was rotated away may be there still, and only an exchange tells:
 * of a random point, so that the answer opens nothing.
 */
async function probeTang(
  { url, kid, crv }: PinPolicy & { pin: 'tang' },
  { http }: ProbeWorld,
  signal: AbortSignal,
): Promise<void> {
  if (advertises(await askTang(http, `${url}/adv`, null, signal), kid)) return;
  const point = generateEphemeral(curves[crv]).point;
  await askTang(http, `${url}/rec/${kid}`, { alg: 'ECMR', ...toJwk(point) }, signal);
}

/** Nobody relies on it, so its signatures are not looked at. */
function advertises(jws: unknown, kid: string): boolean {
  const payload = isObject(jws) && typeof jws['payload'] === 'string' ? fromBase64url(jws['payload']) : null;
  try {
    const set: unknown = JSON.parse(payload?.toString() ?? '');
    const keys: unknown[] = isObject(set) && Array.isArray(set['keys']) ? set['keys'] : [];
    return keys.some((key) => thumbprint(key as EcJwk, 'S256') === kid);
  } catch {
    return false;
  }
}

/** Whether its key is still there only decrypting would tell. */
async function probeParsec(provider: string, parsec: Parsec, signal: AbortSignal): Promise<void> {
  const able = await parsec.providers(signal);
  if (able.some((name) => name === provider)) return;
  throw new AppError('unavailable', `Parsec has no provider ${provider} now`, {
    hint: 'systemctl status parsec',
  });
}

function probeRemote({ server, kid }: PinPolicy & { pin: 'remote' }, { serverOf }: ProbeWorld): void {
  const status = serverOf(server);
  if (status === null) {
    throw new AppError('bad-config', 'no server in config.yaml has the key that it names', {
      hint: 'this machine has left it, or the server has a new key: join it again, seal again',
    });
  }
  if (status.fault !== null) throw status.fault;
  if (status.state === 'armed' && status.keys.has(kid)) return;
  if (status.state === 'armed') {
    throw new AppError('refused', 'the server has no such key', { hint: 'seal again' });
  }
  throw new AppError('waiting', `this machine is ${status.state}`, {
    hint:
      status.state === 'locked'
        ? 'on the server: luks-key-server allow NAME'
        : 'open the volume with another key, join under another name, seal again',
  });
}
