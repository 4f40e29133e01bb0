import { AppError } from '../base/errors.ts';
import type { Argument, Files, Locks, MemoryFile, MemoryFiles, Runner } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { advanceTo, compareCounter, counterPolicyDigest, nextLimit, type RollbackLimit } from './counter.ts';
import { errorNumber, rc, responseIn } from './errors.ts';
import type { Marks } from './measured.ts';
import { type Parent, standardStorageKey, useParent } from './parents.ts';
import { type HashName, selectionText } from './pcrs.ts';
import { pcrPolicyDigest } from './policy.ts';
import { type PcrBinding, pcrMismatch, readPcrs } from './read-pcrs.ts';
import { inSequence, type Sequence } from './sequence.ts';
import { readSignatures, type SignatureFiles } from './signatures.ts';
import { authorize, type SignedPcrs, signatureForNow, signedPolicyDigest } from './signed.ts';
import { Tools, type TpmSettings } from './tools.ts';

export type { PcrBinding } from './read-pcrs.ts';

/** A secret inside the TPM's protection (TPM 2.0 Part 1 §24.4). */
export interface SealedObject {
  readonly parent: Parent;
  /** TPM2B_PUBLIC and TPM2B_PRIVATE. */
  readonly publicArea: Buffer;
  readonly privateArea: Buffer;
  readonly pcrs: PcrBinding | null;
  /** Only under the storage key; both, when there are `pcrs` too. */
  readonly signed: SignedPcrs | null;
  /** Only under the storage key. */
  readonly rollback?: RollbackLimit | null;
  /** What had been measured into `pcrs` at sealing, to tell later what changed; nothing else depends on it. */
  readonly marks?: Marks;
}

export interface SealPlan {
  /** `storage-key` stands for the standard one, made when it is absent. */
  readonly parent: 'storage-key' | Extract<Parent, { kind: 'primary' }>;
  /** Values null: those that the PCRs have now. */
  readonly pcrs: PcrBinding | null;
  /** Default none. */
  readonly signed?: SignedPcrs | null;
  /** NV index of the counter whose limit it gets; default none. */
  readonly rollbackIndex?: number | null;
}

export interface Unsealed {
  readonly secret: Secret;
  /** Fulfilled once the session is flushed: the secret need not wait for it, but the process should. */
  readonly settled: Promise<void>;
}

export interface Tpm {
  /** Whether there is one that answers. @throws AppError `stopped` */
  isThere(signal: AbortSignal): Promise<boolean>;
  /**
   * @param content 1 to 128 bytes
   * @throws AppError `bad-config` (the TPM does not support it), `foreign-tpm` (another key at 0x81000001),
   *   `refused` (the owner's hierarchy has a password), `unavailable`, `tool-missing`, `stopped`
   */
  seal(content: Secret, plan: SealPlan, signal: AbortSignal): Promise<SealedObject>;
  /**
   * The content crosses the bus encrypted, whatever the parent.
   * @throws AppError `pcr-mismatch`, `foreign-tpm`, `damaged`, `unavailable` (no TPM, lockout, out of memory, …),
   *   `tool-missing`, `stopped`
   */
  unseal(object: SealedObject, signal: AbortSignal): Promise<Unsealed>;
  /**
   * What was sealed with a lower limit of this counter does not open any more, on this TPM, ever.
   * @throws AppError `foreign-tpm` (no such counter), `refused`, `unavailable`, `tool-missing`, `stopped`
   */
  retire(rollback: RollbackLimit, signal: AbortSignal): Promise<void>;
}

interface Ports {
  readonly runner: Runner;
  readonly memoryFiles: MemoryFiles;
  readonly locks: Locks;
  readonly files: Pick<Files, 'read'>;
}

/** The TPM by way of tpm2-tools 5, as Debian 12 and later have it. */
export function tpmByTools(ports: Ports, settings: TpmSettings): Tpm {
  const tools = new Tools(ports.runner, settings);
  return {
    async isThere(signal) {
      try {
        return (await tools.attempt('tpm2_getcap', ['properties-fixed'], signal)).status === 0;
      } catch (thrown) {
        if (signal.aborted || !(thrown instanceof AppError)) throw thrown;
        return false;
      }
    },
    async seal(content, plan, signal) {
      const { value, settled } = await inSequence(tools, ports, signal, (sequence) =>
        seal(sequence, content, plan),
      );
      await settled;
      return value;
    },
    async unseal(object, signal) {
      const { value, settled } = await inSequence(tools, ports, signal, (sequence) =>
        unseal(sequence, object, () => readSignatures(ports.files)),
      );
      return { secret: value, settled };
    },
    async retire(rollback, signal) {
      const { settled } = await inSequence(tools, ports, signal, (sequence) => advanceTo(sequence, rollback));
      await settled;
    },
  };
}

/** PCRs alone guard the object, so dictionary-attack protection would only lock it out after unclean power-offs. */
const ATTRIBUTES = 'fixedtpm|fixedparent|noda|adminwithpolicy';

/** A sealed object's TPM2B_PUBLIC or TPM2B_PRIVATE is below 300 bytes. */
const OBJECT_BYTES = 1024;

async function seal(sequence: Sequence, content: Secret, plan: SealPlan): Promise<SealedObject> {
  const parent: Parent =
    plan.parent === 'storage-key'
      ? { kind: 'storage-key', key: await standardStorageKey(sequence) }
      : plan.parent;
  const { signed = null, rollbackIndex = null } = plan;
  const hash = parent.kind === 'primary' ? parent.hash : 'sha256';
  const parentFile = await useParent(sequence, parent);
  const pcrs = plan.pcrs === null ? null : await withValues(sequence, plan.pcrs);
  const rollback = rollbackIndex === null ? null : await nextLimit(sequence, rollbackIndex);
  const policy = policyDigest(hash, { signed, rollback, pcrs });
  const policyArgs = policy === null ? [] : ['-L', sequence.file(policy)];
  const session = await sequence.startSession(parentFile, null);
  await sequence.freeObjects();
  const publicFile = sequence.file();
  const privateFile = sequence.file();
  const files = ['-C', parentFile, '-P', by(session), '-u', publicFile, '-r', privateFile];
  const attributes = policy === null ? `${ATTRIBUTES}|userwithauth` : ATTRIBUTES;
  const args = ['-Q', '-g', hash, ...files, '-a', attributes, ...policyArgs, '-i-'];
  await sequence.run('tpm2_create', args, content.reveal());
  return {
    parent,
    publicArea: publicFile.read(OBJECT_BYTES),
    privateArea: privateFile.read(OBJECT_BYTES),
    pcrs,
    signed,
    rollback,
  };
}

/**
 * What the object's policy is: first the signed PCRs, as PolicyAuthorize forgets what came before, then the counter and
 * the PCRs sealed to. null: none of them.
 */
export function policyDigest(
  hash: HashName,
  {
    signed,
    rollback = null,
    pcrs,
  }: Pick<SealedObject, 'signed' | 'rollback'> & {
    readonly pcrs: (PcrBinding & { readonly values: Buffer }) | null;
  },
): Buffer | null {
  const first = signed === null ? null : signedPolicyDigest(signed);
  const second = rollback === null ? first : counterPolicyDigest(rollback, first);
  return pcrs === null ? second : pcrPolicyDigest(hash, pcrs.selection, pcrs.values, second);
}

/** Authorizes by the session, whose encryption then covers the command. */
function by(session: MemoryFile): { readonly prefix: string; readonly file: MemoryFile } {
  return { prefix: 'session:', file: session };
}

async function unseal(
  sequence: Sequence,
  object: SealedObject,
  signatures: () => Promise<SignatureFiles>,
): Promise<Secret> {
  const { parent, pcrs, signed, rollback = null } = object;
  // Before all else: without one there is nothing to begin.
  const signature = signed === null ? null : await signatureForNow(sequence, signed, signatures);
  const parentFile = await useParent(sequence, parent);
  const policyHash = ownPolicyHash(object);
  const session = await sequence.startSession(parentFile, policyHash);
  if (parent.kind === 'primary') await sequence.freeObjects();
  if (signed !== null && signature !== null) await authorize(sequence, session, signed, signature);
  if (rollback !== null) await compareCounter(sequence, session, rollback);
  const publicFile = sequence.file(object.publicArea);
  const privateFile = sequence.file(object.privateArea);
  const loaded = sequence.file();
  const parentAuth = policyHash === null ? ['-P', by(session)] : [];
  const files = ['-u', publicFile, '-r', privateFile, '-c', loaded];
  await sequence.run('tpm2_load', ['-Q', '-C', parentFile, ...parentAuth, ...files]);
  const result = await sequence.attempt('tpm2_unseal', [
    '-c',
    loaded,
    ...(await unsealAuth(sequence, session, policyHash, pcrs)),
  ]);
  if (result.status === 0) return Secret.takeFrom(result.stdout);
  const response = responseIn(result.stderr);
  if (response !== null && errorNumber(response.code) === rc.POLICY_FAIL) {
    if (pcrs !== null) throw await pcrMismatch(sequence, pcrs);
    if (policyHash !== null) throw otherPolicy();
  }
  throw await sequence.explain('tpm2_unseal', result);
}

export function otherPolicy(): AppError {
  return new AppError('damaged', "the sealed object's policy is not the one that the sealed key tells");
}

/**
 * A policy session's hash must be the object's name algorithm (TPM 2.0 Part 1 §19.7.1). That which `tpm2_unseal -p
 * pcr:…` starts is always of SHA-256, so that `clevis decrypt` cannot open such objects of another algorithm at all:
 * for them the session is ours, and one process more. So it is for signed PCRs and counters, of which that option knows nothing.
 */
function ownPolicyHash({ parent, pcrs, signed, rollback = null }: SealedObject): HashName | null {
  if (signed !== null || rollback !== null) return 'sha256';
  return pcrs !== null && parent.kind === 'primary' && parent.hash !== 'sha256' ? parent.hash : null;
}

async function unsealAuth(
  sequence: Sequence,
  session: MemoryFile,
  policyHash: HashName | null,
  pcrs: PcrBinding | null,
): Promise<readonly Argument[]> {
  if (policyHash === null) {
    return pcrs === null ? ['-S', session] : ['-p', `pcr:${selectionText(pcrs.selection)}`, '-S', session];
  }
  if (pcrs !== null)
    await sequence.run('tpm2_policypcr', ['-Q', '-S', session, '-l', selectionText(pcrs.selection)]);
  return ['-p', by(session)];
}

async function withValues(
  sequence: Sequence,
  binding: PcrBinding,
): Promise<PcrBinding & { readonly values: Buffer }> {
  const { selection } = binding;
  return { selection, values: binding.values ?? (await readPcrs(sequence, selection)) };
}
