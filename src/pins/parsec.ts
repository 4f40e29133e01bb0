import { createHash } from 'node:crypto';
import { fromBase64url, toBase64url } from '../base/bytes.ts';
import { AppError, asAppError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';
import { damaged, isObject, type Jwe, shown } from '../jwe/compact.ts';
import { CONTENT_KEY_BYTES, decryptContent, encryptCompact } from '../jwe/content.ts';
import {
  isProviderName,
  keepsKeysInHardware,
  type Parsec,
  type ProviderName,
  providerIds,
} from '../parsec/parsec.ts';
import { pinHeader } from './header.ts';
import type { OpenContext, Pin } from './pin.ts';

const NAME = 'parsec';
/** This machine's one key in the service, which keeps apart what each user has. */
const KEY = 'fetch-luks-key';
const KEY_NAME = /^[A-Za-z0-9_.-]{1,64}$/;
/** RSA with 2048 bits (RFC 8017 §7.1.1). */
const CIPHERTEXT_BYTES = 256;
const THUMBPRINT_BYTES = 32;

const providerNames = Object.keys(providerIds).join(', ');

/**
 * The content key is encrypted to an RSA key inside a Parsec service; the header has it as `clevis.parsec.ciphertext`,
 * and beside it which key of which provider decrypts it.
 */
export const parsec: Pin = {
  name: NAME,

  parse(jwe) {
    const own = pinHeader(jwe, NAME, 'dir');
    if (own === null) return null;
    const sealed = readHeader(own);
    return {
      pin: NAME,
      title: `${NAME} ${sealed.provider}`,
      uses: [{ pin: NAME }],
      open: (context, signal) =>
        context.attempt(`${NAME} ${sealed.provider}`, signal, (once) => open(jwe, sealed, context, once)),
    };
  },

  async seal(config, secret, { parsec: service, random, signal }) {
    const provider = readConfig(config) ?? (await hardwareProvider(service, signal));
    using contentKey = new Secret(random.bytes(CONTENT_KEY_BYTES));
    await service.makeKey(provider, KEY, signal);
    const thumbprint = digest(await service.publicKey(provider, KEY, signal));
    const ciphertext = await service.encrypt(provider, KEY, contentKey, signal);
    // What a service cannot decrypt is better found out now.
    using again = await service.decrypt(provider, KEY, ciphertext, signal);
    if (!again.reveal().equals(contentKey.reveal())) {
      throw new AppError('unavailable', `${NAME} ${provider}: what it encrypts does not decrypt to the same`);
    }
    const own = {
      provider,
      key: KEY,
      thumbprint: toBase64url(thumbprint),
      ciphertext: toBase64url(ciphertext),
    };
    const header = { alg: 'dir', clevis: { pin: NAME, [NAME]: own } };
    return encryptCompact(header, contentKey, secret, random);
  },
};

interface Sealed {
  readonly provider: ProviderName;
  readonly key: string;
  /** SHA-256 of its public half. */
  readonly thumbprint: Buffer;
  readonly ciphertext: Buffer;
}

/** @throws AppError `damaged` */
function readHeader({ provider, key, ...rest }: Record<string, unknown>): Sealed {
  const wrong = (field: string, expected: string, got: unknown) =>
    damaged(`header field clevis.${NAME}.${field}: expected ${expected}, got ${shown(got)}`);
  if (!isProviderName(provider)) throw wrong('provider', `one of ${providerNames}`, provider);
  if (typeof key !== 'string' || !KEY_NAME.test(key)) throw wrong('key', "a key's name", key);
  const bytes = (field: 'thumbprint' | 'ciphertext', length: number) => {
    const { [field]: text } = rest;
    const value = typeof text === 'string' ? fromBase64url(text) : null;
    if (value?.length === length) return value;
    throw wrong(field, `base64url of ${length} bytes`, text);
  };
  const thumbprint = bytes('thumbprint', THUMBPRINT_BYTES);
  return { provider, key, thumbprint, ciphertext: bytes('ciphertext', CIPHERTEXT_BYTES) };
}

async function open(
  jwe: Jwe,
  sealed: Sealed,
  { parsec: service }: OpenContext,
  signal: AbortSignal,
): Promise<Secret> {
  using contentKey = await decrypt(sealed, service, signal);
  const plaintext = contentKey.length === CONTENT_KEY_BYTES ? decryptContent(jwe, contentKey) : null;
  if (plaintext === null) throw damaged('content does not authenticate with the key that Parsec decrypted');
  return plaintext;
}

/** A provider does not always tell another key from a fault that passes. */
async function decrypt(sealed: Sealed, service: Parsec, signal: AbortSignal): Promise<Secret> {
  const { provider, key, thumbprint, ciphertext } = sealed;
  try {
    return await service.decrypt(provider, key, ciphertext, signal);
  } catch (thrown) {
    if (asAppError(thrown).code !== 'unavailable') throw thrown;
    const publicKey = await service.publicKey(provider, key, signal).catch(() => null);
    if (publicKey === null || digest(publicKey).equals(thumbprint)) throw thrown;
    throw new AppError('foreign-tpm', `parsec: the key ${key} of provider ${provider} is another one now`, {
      cause: thrown,
      hint: 'sealed on another machine, or with a key that is gone',
    });
  }
}

function digest(publicKey: Buffer): Buffer {
  return createHash('sha256').update(publicKey).digest();
}

/**
 * The service's favourite of those that keep keys in a TPM or an HSM.
 * @throws AppError `unavailable` when there is none, `refused`, `stopped`
 */
export async function hardwareProvider(service: Parsec, signal: AbortSignal): Promise<ProviderName> {
  if (!service.isThere()) {
    throw new AppError('unavailable', 'this machine has no Parsec', {
      hint: 'install the package parsec-service',
    });
  }
  const able = await service.providers(signal);
  const found = able.find(keepsKeysInHardware);
  if (found !== undefined) return found;
  const got = able.length === 0 ? 'none that encrypts' : able.join(', ');
  throw new AppError(
    'unavailable',
    `parsec: expected a provider that keeps keys in a TPM or HSM, got ${got}`,
    {
      hint: 'see [[provider]] in /etc/parsec/config.toml; {"provider":"mbed-crypto"} seals to a key on the same disk',
    },
  );
}

/** `{"provider": "tpm"}`, or `{}`. @returns null when it names none */
function readConfig(config: unknown): ProviderName | null {
  const bad = (field: string, expected: string, got: unknown) =>
    new AppError('bad-config', `pin ${NAME}: ${field}: expected ${expected}, got ${shown(got)}`, {
      hint: 'for example {} or {"provider":"tpm"}',
    });
  if (!isObject(config)) throw bad('configuration', 'an object', config);
  const { provider, ...others } = config;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw bad('configuration', 'only provider', unknown);
  if (provider === undefined) return null;
  if (!isProviderName(provider)) throw bad('provider', `one of ${providerNames}`, provider);
  return provider;
}
