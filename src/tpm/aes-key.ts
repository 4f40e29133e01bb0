import { AppError } from '../base/errors.ts';
import type { MemoryFile } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { errorNumber, rc, responseIn } from './errors.ts';
import { standardStorageKey } from './parents.ts';
import { bySession, type Sequence } from './sequence.ts';
import type { StorageKey } from './structures.ts';

/** A secret that a persistent AES-256 key of the TPM has encrypted, in CFB mode (TPM 2.0 Part 3 §15.3). */
export interface WrappedSecret {
  /** What the session that encrypts on the bus is salted with. */
  readonly storageKey: StorageKey;
  /** One of `AES_HANDLES`. */
  readonly handle: number;
  /** The key there as ESYS_TR, in the serialization of libtss2-esys. */
  readonly key: Buffer;
  /** 16 bytes. */
  readonly iv: Buffer;
  /** As long as the secret. CFB has no integrity: whoever wraps a key finds out by what that key authenticates. */
  readonly ciphertext: Buffer;
}

/** Where the key may be: the first that no other object holds. */
export const AES_HANDLES: readonly number[] = [0x81000002, 0x81000003, 0x81000004, 0x81000005];

const ATTRIBUTES = 'decrypt|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda';

/** A serialized ESYS_TR of a symmetric key has 96 bytes. */
const KEY_BYTES = 1024;

/** @throws AppError what `Tpm.wrap` throws */
export async function wrap(sequence: Sequence, secret: Secret, iv: Buffer): Promise<WrappedSecret> {
  await checkCommand(sequence);
  const storageKey = await standardStorageKey(sequence);
  const { handle, key } = await persistentKey(sequence);
  await sequence.freeObjects();
  const session = await sequence.startSession(sequence.file(storageKey.serialized), null);
  const ciphertext = sequence.file();
  const args = cryptArgs(sequence, key, session, iv);
  await sequence.run('tpm2_encryptdecrypt', [...args, '-o', ciphertext], secret.reveal());
  return { storageKey, handle, key, iv, ciphertext: ciphertext.read(secret.length) };
}

/** @throws AppError what `Tpm.unwrap` throws */
export async function unwrap(sequence: Sequence, wrapped: WrappedSecret): Promise<Secret> {
  const { storageKey, handle, key, iv, ciphertext } = wrapped;
  const there = await readKey(sequence, handle);
  if (there?.equals(key) !== true) {
    const got = there === null ? 'nothing' : 'another object';
    throw new AppError(
      'foreign-tpm',
      `TPM handle ${hex(handle)}: expected the key that wrapped it, got ${got}`,
    );
  }
  const session = await sequence.startSession(sequence.file(storageKey.serialized), null);
  const args = cryptArgs(sequence, key, session, iv);
  return Secret.takeFrom(await sequence.run('tpm2_encryptdecrypt', [...args, '-d'], ciphertext));
}

function cryptArgs(sequence: Sequence, key: Buffer, session: MemoryFile, iv: Buffer) {
  return ['-Q', '-c', sequence.file(key), '-p', bySession(session), '--iv', sequence.file(iv)];
}

/** TPM2_EncryptDecrypt, which the tool would use in its place, takes the secret in clear over the bus. */
async function checkCommand(sequence: Sequence): Promise<void> {
  const commands = await sequence.run('tpm2_getcap', ['commands']);
  if (/^TPM2_CC_EncryptDecrypt2:/m.test(commands.toString('latin1'))) return;
  throw new AppError('bad-config', 'the TPM has no TPM2_EncryptDecrypt2', {
    hint: 'export rules keep it out of many: "protection: tpm2" does without',
  });
}

/**
 * The key is made from the owner's seed, always the same: what is at a handle is ours if it is that key. Anything else
 * there is left alone.
 */
async function persistentKey(sequence: Sequence): Promise<{ handle: number; key: Buffer }> {
  const [primary, publicArea] = [sequence.file(), sequence.file()];
  const template = ['-C', 'o', '-g', 'sha256', '-G', 'aes256cfb', '-a', ATTRIBUTES];
  await sequence.run('tpm2_createprimary', ['-Q', ...template, '-c', primary, '-o', publicArea]);
  const ours = publicArea.read(KEY_BYTES);
  for (const handle of AES_HANDLES) {
    let there = await readKey(sequence, handle);
    if (there === null) {
      await sequence.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', primary, hex(handle)]);
      there = await readKey(sequence, handle);
    }
    // Handle, name and type come before TPM2B_PUBLIC.
    if (there?.subarray(-ours.length).equals(ours) === true) return { handle, key: there };
  }
  throw new AppError(
    'unavailable',
    `TPM handles ${AES_HANDLES.map(hex).join(', ')}: expected one that is free, got other objects in all`,
    { hint: 'tpm2_evictcontrol -C o -c HANDLE removes what nobody needs; "protection: tpm2" needs none' },
  );
}

/** @returns null when there is nothing */
async function readKey(sequence: Sequence, handle: number): Promise<Buffer | null> {
  const serialized = sequence.file();
  const result = await sequence.attempt('tpm2_readpublic', ['-Q', '-c', hex(handle), '-t', serialized]);
  if (result.status === 0) return serialized.read(KEY_BYTES);
  const response = responseIn(result.stderr);
  if (response !== null && errorNumber(response.code) === rc.HANDLE) return null;
  throw await sequence.explain('tpm2_readpublic', result);
}

function hex(handle: number): string {
  return `0x${handle.toString(16)}`;
}
