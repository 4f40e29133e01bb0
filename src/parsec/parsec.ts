import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { LocalService } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { type Call, caller } from './call.ts';
import * as message from './messages.ts';
import { status } from './status.ts';

/**
 * Providers by their ids on the wire (parsec-interface, `ProviderId`), as far as they have RSA-OAEP (parsec-book,
 * 'Service API coverage').
 */
export const providerIds = { 'mbed-crypto': 1, pkcs11: 2, tpm: 3 } as const;
export type ProviderName = keyof typeof providerIds;

export function isProviderName(value: unknown): value is ProviderName {
  return typeof value === 'string' && Object.hasOwn(providerIds, value);
}

/** Keeps keys in a TPM or an HSM. The software provider has them in files on the same disk. */
export function keepsKeysInHardware(provider: ProviderName): boolean {
  return provider !== 'mbed-crypto';
}

/** The Parsec service, which keeps keys and never gives them out (wire protocol 1.0). */
export interface Parsec {
  /** Whether this machine has one, which need not answer. */
  isThere(): boolean;
  /**
   * The providers that can do all that follows, the service's favourite first.
   * @throws AppError `unavailable` (it hangs, answers garbage, nobody listens), `refused`, `stopped`
   */
  providers(signal: AbortSignal): Promise<readonly ProviderName[]>;
  /** Makes an RSA key; nothing when there is one of that name. @throws AppError `unavailable`, `refused`, `stopped` */
  makeKey(provider: ProviderName, key: string, signal: AbortSignal): Promise<void>;
  /** RSAPublicKey (RFC 8017 §A.1.1). @throws AppError `foreign-tpm` (no such key), `unavailable`, `refused`, `stopped` */
  publicKey(provider: ProviderName, key: string, signal: AbortSignal): Promise<Buffer>;
  /**
   * RSA-OAEP with SHA-256 (RFC 8017 §7.1). @param secret at most 190 bytes
   * @throws AppError `foreign-tpm` (no such key), `unavailable`, `refused`, `stopped`
   */
  encrypt(provider: ProviderName, key: string, secret: Secret, signal: AbortSignal): Promise<Buffer>;
  /**
   * @throws AppError `foreign-tpm` (no such key; of the software provider also: another one), `unavailable` (of the TPM
   *   provider also: another key, or damaged), `refused`, `stopped`
   */
  decrypt(provider: ProviderName, key: string, ciphertext: Uint8Array, signal: AbortSignal): Promise<Secret>;
}

const CORE = 0;
const NEEDED = [
  message.opcode.generateKey,
  message.opcode.exportPublicKey,
  message.opcode.asymmetricEncrypt,
  message.opcode.asymmetricDecrypt,
];

/** @param uid whose keys they are: the user that we run as */
export function parsecAt(service: LocalService, uid: number): Parsec {
  const call = caller(service, uid);
  return {
    isThere: service.isThere,
    async providers(signal) {
      await greet(call, signal);
      const what = 'list providers';
      const list = { what, provider: CORE, opcode: message.opcode.listProviders, body: Buffer.alloc(0) };
      const ids = await call(list, message.listProvidersResult, signal);
      const known = ids.flatMap((id) =>
        Object.keys(providerIds)
          .filter(isProviderName)
          .filter((name) => providerIds[name] === id),
      );
      const able: ProviderName[] = [];
      for (const name of known) if (await isAble(call, name, signal)) able.push(name);
      return able;
    },
    async makeKey(provider, key, signal) {
      const what = `make the key ${key} of provider ${provider}`;
      const body = message.generateKey(key);
      const id = providerIds[provider];
      const make = {
        what,
        provider: id,
        opcode: message.opcode.generateKey,
        body,
        timeoutMs: limits.parsecKeyMs,
      };
      await call({ ...make, orStatus: status.alreadyExists }, () => true, signal);
    },
    async publicKey(provider, key, signal) {
      const what = `read the key ${key} of provider ${provider}`;
      const body = message.named(key);
      const read = { what, provider: providerIds[provider], opcode: message.opcode.exportPublicKey, body };
      return await call(read, (answer) => copyOf(message.dataResult(answer)), signal);
    },
    async encrypt(provider, key, secret, signal) {
      const what = `encrypt with the key ${key} of provider ${provider}`;
      const body = message.asymmetric(key, secret.reveal());
      const encrypt = {
        what,
        provider: providerIds[provider],
        opcode: message.opcode.asymmetricEncrypt,
        body,
      };
      return await call(encrypt, (answer) => copyOf(message.dataResult(answer)), signal);
    },
    async decrypt(provider, key, ciphertext, signal) {
      const what = `decrypt with the key ${key} of provider ${provider}`;
      const body = message.asymmetric(key, ciphertext);
      const decrypt = {
        what,
        provider: providerIds[provider],
        opcode: message.opcode.asymmetricDecrypt,
        body,
      };
      return await call(decrypt, (answer) => secretIn(message.dataResult(answer)), signal);
    },
  };
}

/** The answer itself is wiped. */
function copyOf(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes);
}

function secretIn(bytes: Buffer | null): Secret | null {
  return bytes === null ? null : Secret.takeFrom(bytes);
}

async function greet(call: Call, signal: AbortSignal): Promise<void> {
  const ping = { what: 'ping', provider: CORE, opcode: message.opcode.ping, body: Buffer.alloc(0) };
  const { major, minor } = await call(ping, message.pingResult, signal);
  if (major === 1) return;
  throw new AppError('unavailable', `parsec: expected wire protocol 1.0, got ${major}.${minor}`);
}

async function isAble(call: Call, provider: ProviderName, signal: AbortSignal): Promise<boolean> {
  const body = message.listOpcodes(providerIds[provider]);
  const what = `list operations of provider ${provider}`;
  const list = { what, provider: CORE, opcode: message.opcode.listOpcodes, body };
  const opcodes = await call(list, message.listOpcodesResult, signal);
  return NEEDED.every((opcode) => opcodes.includes(opcode));
}
