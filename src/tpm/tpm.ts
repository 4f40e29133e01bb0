import { AppError } from '../base/errors.ts';
import type { Argument, Locks, MemoryFile, MemoryFiles, Runner } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { errorNumber, rc, responseIn } from './errors.ts';
import { type Parent, standardStorageKey, useParent } from './parents.ts';
import {
  differingPcrs,
  type HashName,
  hashes,
  type PcrSelection,
  selectionText,
  valuesLength,
} from './pcrs.ts';
import { pcrPolicyDigest } from './policy.ts';
import { inSequence, type Sequence } from './sequence.ts';
import { Tools, type TpmSettings } from './tools.ts';

/** PCRs that an object is sealed to. */
export interface PcrBinding {
  readonly selection: PcrSelection;
  /** Their values at sealing, one after the other, ascending; null where the sealed key does not tell. */
  readonly values: Buffer | null;
}

/** A secret inside the TPM's protection (TPM 2.0 Part 1 §24.4). */
export interface SealedObject {
  readonly parent: Parent;
  /** TPM2B_PUBLIC and TPM2B_PRIVATE. */
  readonly publicArea: Buffer;
  readonly privateArea: Buffer;
  readonly pcrs: PcrBinding | null;
}

export interface SealPlan {
  /** `storage-key` stands for the standard one, made when it is absent. */
  readonly parent: 'storage-key' | Extract<Parent, { kind: 'primary' }>;
  /** Values null: those that the PCRs have now. */
  readonly pcrs: PcrBinding | null;
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
}

interface Ports {
  readonly runner: Runner;
  readonly memoryFiles: MemoryFiles;
  readonly locks: Locks;
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
        unseal(sequence, object),
      );
      return { secret: value, settled };
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
  const hash = parent.kind === 'primary' ? parent.hash : 'sha256';
  const parentFile = await useParent(sequence, parent);
  const pcrs = plan.pcrs === null ? null : await withValues(sequence, plan.pcrs);
  const policy = pcrs === null ? null : pcrPolicyDigest(hash, pcrs.selection, pcrs.values);
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
  };
}

/** Authorizes by the session, whose encryption then covers the command. */
function by(session: MemoryFile): { readonly prefix: string; readonly file: MemoryFile } {
  return { prefix: 'session:', file: session };
}

async function unseal(sequence: Sequence, object: SealedObject): Promise<Secret> {
  const { parent, pcrs } = object;
  const parentFile = await useParent(sequence, parent);
  const policyHash = pcrs === null ? null : oddPolicyHash(parent);
  const session = await sequence.startSession(parentFile, policyHash);
  if (parent.kind === 'primary') await sequence.freeObjects();
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
  if (response !== null && pcrs !== null && errorNumber(response.code) === rc.POLICY_FAIL) {
    throw await pcrMismatch(sequence, pcrs);
  }
  throw await sequence.explain('tpm2_unseal', result);
}

/**
 * A policy session's hash must be the object's name algorithm (TPM 2.0 Part 1 §19.7.1). That which `tpm2_unseal -p
 * pcr:…` starts is always of SHA-256, so that `clevis decrypt` cannot open such objects of another algorithm at all:
 * for them the session is ours, and one process more.
 */
function oddPolicyHash(parent: Parent): HashName | null {
  return parent.kind === 'primary' && parent.hash !== 'sha256' ? parent.hash : null;
}

async function unsealAuth(
  sequence: Sequence,
  session: MemoryFile,
  policyHash: HashName | null,
  pcrs: PcrBinding | null,
): Promise<readonly Argument[]> {
  if (pcrs === null) return ['-S', session];
  const selection = selectionText(pcrs.selection);
  if (policyHash === null) return ['-p', `pcr:${selection}`, '-S', session];
  await sequence.run('tpm2_policypcr', ['-Q', '-S', session, '-l', selection]);
  return ['-p', by(session)];
}

async function withValues(
  sequence: Sequence,
  binding: PcrBinding,
): Promise<PcrBinding & { readonly values: Buffer }> {
  const { selection } = binding;
  return { selection, values: binding.values ?? (await readPcrs(sequence, selection)) };
}

/** @throws AppError `bad-config` when the bank is not active: tpm2_pcrread then gives fewer values, or none */
export async function readPcrs(sequence: Sequence, selection: PcrSelection): Promise<Buffer> {
  const file = sequence.file();
  const result = await sequence.attempt('tpm2_pcrread', ['-Q', selectionText(selection), '-o', file]);
  const unsupported = /unsupported bank/.test(result.stderr);
  if (result.status !== 0 && !unsupported) throw await sequence.explain('tpm2_pcrread', result);
  const values = file.read(24 * hashes.sha512.bytes);
  if (values.length === valuesLength(selection)) return values;
  throw new AppError(
    'bad-config',
    `PCRs ${selectionText(selection)}: the TPM has no active bank ${selection.bank}`,
    {
      hint: 'tpm2_getcap pcrs lists the active ones; pcr_bank chooses another',
    },
  );
}

/** Names the PCRs that changed where the sealed key tells their values, else those that it could be. */
export async function pcrMismatch(sequence: Sequence, { selection, values }: PcrBinding): Promise<AppError> {
  const changed =
    values === null ? selection.ids : differingPcrs(selection, values, await readPcrs(sequence, selection));
  const names = `${changed.length === 1 ? 'PCR' : 'PCRs'} ${changed.join(', ')} (bank ${selection.bank})`;
  if (changed.length === 0) {
    return new AppError(
      'damaged',
      `the sealed object's policy is not that of PCRs ${selectionText(selection)}`,
    );
  }
  const certain = values !== null || changed.length === 1;
  return new AppError(
    'pcr-mismatch',
    `${certain ? '' : 'one or more of '}${names} changed since the key was sealed`,
    {
      hint: 'after a wanted change, such as a firmware update, open the volume with another key and seal this one again',
    },
  );
}
