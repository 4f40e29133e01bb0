import { fromBase64url, toBase64url } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import type { Files } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { damaged, isObject, type Jwe } from '../jwe/compact.ts';
import { CONTENT_KEY_BYTES, decryptContent, encryptCompact } from '../jwe/content.ts';
import { type Marks, marksOf, readEventLog } from '../tpm/measured.ts';
import type { SealedObject } from '../tpm/tpm.ts';
import { WRONG_PASSWORD } from '../tpm/unseal.ts';
import { pinHeader } from './header.ts';
import type { OpenContext, Pin } from './pin.ts';
import { readConfig } from './tpm2-config.ts';
import { readHeader, writeHeader } from './tpm2-header.ts';
import { PIN_SALT_BYTES, passwordOf, withPin } from './tpm2-pin.ts';
import { readPublicKey } from './tpm2-public-key.ts';

/**
 * The content key is inside an object that only this machine's TPM unseals, and only while the chosen PCRs have the
 * values that they had at sealing.
 */
export const tpm2: Pin = {
  name: 'tpm2',

  parse(jwe) {
    const own = pinHeader(jwe, 'tpm2', 'dir');
    if (own === null) return null;
    const object = readHeader(own);
    return {
      pin: 'tpm2',
      title: object.pinSalt == null ? 'tpm2' : 'tpm2 with a PIN',
      uses: [object.pinSalt == null ? { pin: 'tpm2' } : { pin: 'tpm2', withPin: true }],
      open: (context, signal) => open(jwe, object, context, signal),
    };
  },

  async seal(config, secret, context) {
    const { plan, publicKey, withPin: hasPin } = readConfig(config);
    const pinSalt = hasPin ? context.random.bytes(PIN_SALT_BYTES) : null;
    using pin = pinSalt === null ? null : await context.newPin(pinSalt);
    using password = pin === null || pinSalt === null ? null : await passwordOf(pin, pinSalt);
    const signed = publicKey === null ? null : await readPublicKey(publicKey, context.files);
    using contentKey = new Secret(context.random.bytes(CONTENT_KEY_BYTES));
    using jwk = writeJwk(contentKey);
    const object = await context.tpm.seal(jwk, { ...plan, signed, password }, context.signal);
    const own = writeHeader({ ...object, pinSalt, marks: await marksFor(object, context.files) });
    const header = { alg: 'dir', clevis: { pin: 'tpm2', tpm2: own } };
    return encryptCompact(header, contentKey, secret, context.random);
  },
};

async function marksFor({ pcrs }: SealedObject, files: Pick<Files, 'read'>): Promise<Marks> {
  const events = pcrs === null ? null : await readEventLog(files);
  return pcrs === null || events === null ? new Map() : marksOf(events, pcrs);
}

async function open(
  jwe: Jwe,
  object: SealedObject,
  context: OpenContext,
  signal: AbortSignal,
): Promise<Secret> {
  const { pinSalt = null } = object;
  const unseal = () => context.attempt('tpm2', signal, (stop) => context.tpm.unseal(object, stop));
  const trying = (password: Secret) => async (stop: AbortSignal) => {
    try {
      return await context.tpm.unseal(object, stop, password);
    } catch (thrown) {
      if (thrown instanceof AppError && thrown.cause === WRONG_PASSWORD) return null;
      throw thrown;
    }
  };
  const unsealBy = (password: Secret) => context.attempt('tpm2', signal, trying(password), true);
  const unsealing = pinSalt === null ? unseal() : withPin(context.askPin, pinSalt, signal, unsealBy);
  // OpenSSL, which decrypting needs, takes as long to load as a TPM tool runs: let it do so beside the first one.
  setImmediate(() => context.random.bytes(1));
  const { secret, settled } = await unsealing;
  context.afterwards(settled);
  using jwk = secret;
  using contentKey = readJwk(jwk);
  const plaintext = decryptContent(jwe, contentKey);
  if (plaintext === null) throw damaged('content does not authenticate with the key that the TPM unsealed');
  return plaintext;
}

/** The content key as Clevis seals it: a JWK (RFC 7517) of at most the 128 bytes that a TPM takes. */
function writeJwk(contentKey: Secret): Secret {
  const k = toBase64url(contentKey.reveal());
  const members = { alg: 'A256GCM', k, key_ops: ['encrypt', 'decrypt'], kty: 'oct' };
  return Secret.takeFrom(Buffer.from(JSON.stringify(members)));
}

/** White space around it, as Clevis' newline, is no matter. */
function readJwk(text: Secret): Secret {
  let jwk: unknown;
  try {
    jwk = JSON.parse(text.reveal().toString());
  } catch {
    // The message of the engine would quote the text.
  }
  const k = isObject(jwk) && jwk.kty === 'oct' && typeof jwk.k === 'string' ? fromBase64url(jwk.k) : null;
  if (k?.length !== CONTENT_KEY_BYTES)
    throw damaged('the object that the TPM unsealed holds no key for A256GCM');
  return new Secret(k);
}
