import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import type { Config } from '../config/config.ts';
import { placesOf } from '../credentials/place.ts';
import { parseSealedKey } from '../pins/table.ts';
import { keyServersOf } from '../remote/key-servers.ts';
import type { HandlerWorld } from './handle.ts';
import type { Located } from './locate.ts';
import { type OpenedKey, openKey } from './open.ts';
import { keepTrying } from './patience.ts';
import type { Served } from './serves.ts';

export type CredentialRequest = Extract<Served, { kind: 'credential' }>;

/** Unlike a volume, a service can be started again: it is told no before systemd's own patience ends (90 s). */
const patienceWithServices = {
  giveUpAfterMs: limits.credentialPatienceMs,
  waitForAllowMs: limits.credentialPatienceMs,
};

/**
 * The whole way to a service's secret, before the last look at it.
 * @param leftovers receives what is still cleaning up when the secret is there
 * @throws AppError `unknown-volume` when nothing is sealed for it; what opening throws
 */
export async function credentialFor(
  request: CredentialRequest,
  config: Config,
  etc: string,
  world: HandlerWorld,
  signal: AbortSignal,
  leftovers: Promise<unknown>[],
  patience = keepTrying,
): Promise<OpenedKey> {
  const servers = await keyServersOf(config, world.serverWorld);
  const located = await locateCredential(request, etc, world.files);
  const attempt = patience(
    world.clock,
    world.random,
    patienceWithServices,
    (leftover) => void leftovers.push(leftover),
  );
  const askPin = world.pinOf(`${request.unit}/${request.credential}`, patienceWithServices.giveUpAfterMs);
  return openKey(located, attempt, { ...world, servers, askPin }, signal, leftovers);
}

/** ETC/credentials/UNIT/CREDENTIAL.jwe and the like; of an instance that has none, its template's. */
async function locateCredential(
  { unit, credential, forms }: CredentialRequest,
  etc: string,
  files: Files,
): Promise<Located> {
  const places = placesOf(etc, { unit, credential }, forms);
  for (const path of places) {
    const file = await files.read(path, limits.sealedKeyBytes);
    if (file === null) continue;
    const where = (thrown: unknown): never => {
      throw thrown instanceof AppError ? thrown.at(path) : thrown;
    };
    try {
      const sealed = parseSealedKey(file.toString('latin1'));
      const open: typeof sealed.open = (context, signal) => sealed.open(context, signal).catch(where);
      return { url: null, sealedKeys: [{ uses: sealed.uses, open }], check: () => {} };
    } catch (thrown) {
      where(thrown);
    }
  }
  throw new AppError(
    'unknown-volume',
    `no sealed key for ${unit}/${credential}: no ${places.join(', no ')}`,
    {
      hint: `fetch-luks-key seal --credential ${unit}/${credential}${forms.includes('plain') ? '' : ' --encrypted'} tpm2 '{}' < SECRET`,
    },
  );
}

/**
 * The last look before a secret leaves: the service would start with an empty one, and fail with one that is too long.
 * @throws AppError `damaged`
 */
export function verifyCredential(secret: Secret, { unit, credential }: CredentialRequest): void {
  if (secret.length > 0 && secret.length <= limits.credentialBytes) return;
  throw new AppError(
    'damaged',
    `${unit}/${credential}: expected 1 to ${limits.credentialBytes} bytes, got ${secret.length}`,
    { hint: 'seal it again' },
  );
}
