import { createHash } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import type { MemoryFile } from '../base/ports.ts';
import { errorNumber, rc, responseIn } from './errors.ts';
import type { Sequence } from './sequence.ts';

/**
 * An NV counter (TPM 2.0 Part 1 §37.2.4) that an object's policy compares: it opens while the counter is at most
 * `limit`. A counter only goes up; one that is removed and made again goes on above all that the TPM ever had, so that
 * no way leads back.
 */
export interface RollbackLimit {
  readonly index: number;
  readonly limit: bigint;
}

/** NV indices that the owner may define (TCG Registry of Reserved TPM 2.0 Handles §2.2). @returns null for others */
export function parseIndex(text: unknown): number | null {
  return typeof text === 'string' && /^0x01[89ab][0-9a-f]{5}$/.test(text) ? Number(text) : null;
}

export function indexText(index: number): string {
  return `0x${index.toString(16).padStart(8, '0')}`;
}

/** No dictionary attack protection, as there is no password, and the owner alone increments it. */
const ATTRIBUTES = 'ownerwrite|authread|no_da|nt=counter';
/** The same with TPMA_NV_WRITTEN (TPM 2.0 Part 2 §13.4). */
const TPMA_NV = 0x22040012;
const COUNTER_BYTES = 8;

/** Name algorithm, and the digest of TPMS_NV_PUBLIC (TPM 2.0 Part 2 §13.5): of our counter and no other's. */
function nameOf(index: number): Buffer {
  const area = Buffer.alloc(4 + 2 + 4 + 2 + 2);
  area.writeUInt32BE(index, 0);
  area.writeUInt16BE(0x000b, 4);
  area.writeUInt32BE(TPMA_NV, 6);
  area.writeUInt16BE(COUNTER_BYTES, 12);
  return Buffer.concat([Buffer.from('000b', 'hex'), createHash('sha256').update(area).digest()]);
}

/**
 * The digest of a policy of SHA-256 after PolicyNV (TPM 2.0 Part 3 §23.9): H(before ‖ TPM_CC_PolicyNV ‖
 * H(limit ‖ offset ‖ TPM_EO_UNSIGNED_LE) ‖ name of the index).
 * @param before null: PolicyNV is the first of it
 */
export function counterPolicyDigest({ index, limit }: RollbackLimit, before: Buffer | null): Buffer {
  const operation = Buffer.from('00000009', 'hex');
  const args = createHash('sha256').update(operand(limit)).update(operation).digest();
  return createHash('sha256')
    .update(before ?? Buffer.alloc(32))
    .update(Buffer.from('00000149', 'hex'))
    .update(args)
    .update(nameOf(index))
    .digest();
}

function operand(limit: bigint): Buffer {
  const bytes = Buffer.alloc(COUNTER_BYTES);
  bytes.writeBigUInt64BE(limit);
  return bytes;
}

/**
 * One more than the counter: what was sealed before opens too until the counter is advanced, as it must until the new
 * one has been tried.
 * The counter is made when there is none.
 * @throws AppError `bad-config` when something else is at the index; `refused` (the owner's hierarchy has a password)
 */
export async function nextLimit(sequence: Sequence, index: number): Promise<RollbackLimit> {
  const text = indexText(index);
  let value = await readCounter(sequence, index);
  if (value === 'absent') {
    await sequence.run('tpm2_nvdefine', [
      '-Q',
      '-C',
      'o',
      '-s',
      String(COUNTER_BYTES),
      '-a',
      ATTRIBUTES,
      text,
    ]);
    value = 'unwritten';
  }
  if (value === 'unwritten') {
    await sequence.run('tpm2_nvincrement', ['-C', 'o', text]);
    value = await readCounter(sequence, index);
  }
  const about = (await sequence.run('tpm2_nvreadpublic', [text])).toString();
  if (typeof value === 'bigint' && about.includes(`name: ${nameOf(index).toString('hex')}`)) {
    return { index, limit: value + 1n };
  }
  throw new AppError(
    'bad-config',
    `rollback_counter: expected nothing or our counter at NV index ${text}, got another`,
    {
      hint: 'tpm2_getcap handles-nv-index lists those that are taken',
    },
  );
}

/**
 * Advances the counter to the limit: objects with a lower one do not open any more.
 * @throws AppError `foreign-tpm` when there is no counter, `damaged` when the limit is none that `nextLimit` gave
 */
export async function advanceTo(sequence: Sequence, { index, limit }: RollbackLimit): Promise<void> {
  const value = await readCounter(sequence, index);
  if (typeof value !== 'bigint') throw gone(index);
  if (value >= limit) return;
  if (value + 1n !== limit) {
    throw new AppError(
      'damaged',
      `the limit of counter ${indexText(index)}: expected at most ${value + 1n}, got ${limit}`,
    );
  }
  await sequence.run('tpm2_nvincrement', ['-C', 'o', indexText(index)]);
}

/** Extends a policy session by PolicyNV. @throws AppError `refused` when the counter is past the limit, `foreign-tpm` */
export async function compareCounter(
  sequence: Sequence,
  session: MemoryFile,
  { index, limit }: RollbackLimit,
): Promise<void> {
  const text = indexText(index);
  const args = ['-Q', '-S', session, '-i', sequence.file(operand(limit)), '-C', text, text, 'ule'];
  const result = await sequence.attempt('tpm2_policynv', args);
  if (result.status === 0) return;
  const response = responseIn(result.stderr);
  const number = response === null ? null : errorNumber(response.code);
  if (number === rc.POLICY) throw retired(index);
  if (number === rc.HANDLE || number === rc.NV_UNINITIALIZED) throw gone(index);
  throw await sequence.explain('tpm2_policynv', result);
}

/** The same without a session. */
export async function checkCounter(sequence: Sequence, { index, limit }: RollbackLimit): Promise<void> {
  const value = await readCounter(sequence, index);
  if (typeof value !== 'bigint') throw gone(index);
  if (value > limit) throw retired(index);
}

/** @throws AppError `unavailable`, `tool-missing`, `stopped` */
export async function hasCounter(sequence: Sequence, index: number): Promise<boolean> {
  return (await readCounter(sequence, index)) !== 'absent';
}

/**
 * Removes our counter; nothing when there is none, or something else is at the index. What was sealed with it does not
 * open any more.
 * @throws AppError `refused` (the owner's hierarchy has a password), `unavailable`, `tool-missing`, `stopped`
 */
export async function removeCounter(sequence: Sequence, index: number): Promise<void> {
  const text = indexText(index);
  if (!(await hasCounter(sequence, index))) return;
  const about = (await sequence.run('tpm2_nvreadpublic', [text])).toString();
  if (about.includes(`name: ${nameOf(index).toString('hex')}`)) {
    await sequence.run('tpm2_nvundefine', ['-C', 'o', text]);
  }
}

async function readCounter(sequence: Sequence, index: number): Promise<bigint | 'absent' | 'unwritten'> {
  const text = indexText(index);
  const result = await sequence.attempt('tpm2_nvread', ['-C', text, text]);
  if (result.status === 0) {
    return result.stdout.length === COUNTER_BYTES ? result.stdout.readBigUInt64BE() : 'unwritten';
  }
  const response = responseIn(result.stderr);
  const number = response === null ? null : errorNumber(response.code);
  if (number === rc.HANDLE) return 'absent';
  if (number === rc.NV_UNINITIALIZED) return 'unwritten';
  throw await sequence.explain('tpm2_nvread', result);
}

function retired(index: number): AppError {
  return new AppError(
    'refused',
    `this sealed key was retired: the TPM's counter ${indexText(index)} is past it`,
    {
      hint: 'a newer one has taken its place; this one is from an old header or file',
    },
  );
}

function gone(index: number): AppError {
  return new AppError(
    'foreign-tpm',
    `the TPM has no counter ${indexText(index)}, to which the key was sealed`,
    {
      hint: 'open the volume with another key and seal this one again',
    },
  );
}
