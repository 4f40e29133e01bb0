import { AppError } from '../base/errors.ts';
import type { MemoryFile } from '../base/ports.ts';
import { errorNumber, rc, responseIn } from './errors.ts';
import type { HashName } from './pcrs.ts';
import type { Sequence } from './sequence.ts';
import { parseStorageKey, SRK_HANDLE, type StorageKey } from './structures.ts';

/** Key types that Clevis documents and tpm2-tools can make a parent of. */
export const parentKeys = ['ecc', 'rsa'] as const;
export type ParentKey = (typeof parentKeys)[number];

/** The key under which an object is sealed. */
export type Parent =
  /** The standard storage key, persistent at 0x81000001. Objects under it have the name algorithm SHA-256. */
  | { readonly kind: 'storage-key'; readonly key: StorageKey }
  /** Clevis' way: a primary key made anew each time. */
  | { readonly kind: 'primary'; readonly hash: HashName; readonly key: ParentKey };

const HANDLE = `0x${SRK_HANDLE.toString(16)}`;

/** What a tool takes as `-C` for this parent. */
export async function useParent(sequence: Sequence, parent: Parent): Promise<MemoryFile> {
  if (parent.kind === 'storage-key') return sequence.file(parent.key.serialized);
  const context = sequence.file();
  await sequence.run('tpm2_createprimary', [
    '-Q',
    '-C',
    'o',
    '-g',
    parent.hash,
    '-G',
    parent.key,
    '-c',
    context,
  ]);
  return context;
}

/**
 * The standard storage key: the one that systemd's tpm2-setup persists too, made and persisted when absent.
 * What is at the handle is compared with the primary key made anew from the owner's seed, since anybody who can
 * write to the TPM may put a key there whose private half he knows.
 * @throws AppError `foreign-tpm` when it is another key
 */
export async function standardStorageKey(sequence: Sequence): Promise<StorageKey> {
  const primary = sequence.file();
  const publicArea = sequence.file();
  const attributes = 'restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda';
  const template = ['-C', 'o', '-g', 'sha256', '-G', 'ecc256:aes128cfb', '-a', attributes];
  await sequence.run('tpm2_createprimary', ['-Q', ...template, '-c', primary, '-o', publicArea]);
  let serialized = await readPersistent(sequence);
  if (serialized === null) {
    await sequence.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', primary, HANDLE]);
    serialized = await readPersistent(sequence);
  }
  await sequence.freeObjects();
  const key = serialized === null ? null : parseStorageKey(serialized);
  if (key?.publicArea.equals(publicArea.read(KEY_BYTES)) !== true) {
    throw new AppError(
      'foreign-tpm',
      `TPM handle ${HANDLE}: expected the standard ECC storage key, got another key`,
      {
        hint: `"clevis": true seals without it; tpm2_evictcontrol -C o -c ${HANDLE} removes what is there`,
      },
    );
  }
  return key;
}

/** The files are 136 and 92 bytes for the standard key; that of an RSA key is below 400. */
const KEY_BYTES = 1024;

/** The key at the handle as ESYS_TR; null when there is none. */
async function readPersistent(sequence: Sequence): Promise<Buffer | null> {
  const serialized = sequence.file();
  const result = await sequence.attempt('tpm2_readpublic', ['-Q', '-c', HANDLE, '-t', serialized]);
  if (result.status === 0) return serialized.read(KEY_BYTES);
  const response = responseIn(result.stderr);
  if (response !== null && errorNumber(response.code) === rc.HANDLE) return null;
  throw await sequence.explain('tpm2_readpublic', result);
}
