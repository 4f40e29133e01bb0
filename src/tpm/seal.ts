import type { Secret } from '../base/secret.ts';
import { nextLimit } from './counter.ts';
import { policyDigest } from './object-policy.ts';
import { type Parent, standardStorageKey, useParent } from './parents.ts';
import { type PcrBinding, readPcrs } from './read-pcrs.ts';
import { byPassword, bySession, type Sequence } from './sequence.ts';
import type { SealedObject, SealPlan } from './tpm.ts';

const ATTRIBUTES = 'fixedtpm|fixedparent|adminwithpolicy';
/** Where PCRs alone guard the object, dictionary-attack protection would only lock it out after unclean power-offs. */
const UNCOUNTED = '|noda';

/** A sealed object's TPM2B_PUBLIC or TPM2B_PRIVATE is below 300 bytes. */
const OBJECT_BYTES = 1024;

/** @throws AppError what `Tpm.seal` throws */
export async function seal(sequence: Sequence, content: Secret, plan: SealPlan): Promise<SealedObject> {
  const parent: Parent =
    plan.parent === 'storage-key'
      ? { kind: 'storage-key', key: await standardStorageKey(sequence) }
      : plan.parent;
  const { signed = null, rollbackIndex = null, password = null } = plan;
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
  const files = ['-C', parentFile, '-P', bySession(session), '-u', publicFile, '-r', privateFile];
  if (policy !== null && password !== null) throw new Error('a password beside a policy guards nothing');
  const user = policy === null ? '|userwithauth' : '';
  const attributes = `${ATTRIBUTES}${password === null ? UNCOUNTED : ''}${user}`;
  const passwordArgs = password === null ? [] : ['-p', byPassword(sequence, password)];
  const args = ['-Q', '-g', hash, ...files, '-a', attributes, ...policyArgs, ...passwordArgs, '-i-'];
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

async function withValues(
  sequence: Sequence,
  binding: PcrBinding,
): Promise<PcrBinding & { readonly values: Buffer }> {
  const { selection } = binding;
  return { selection, values: binding.values ?? (await readPcrs(sequence, selection)) };
}
