import { AppError } from '../base/errors.ts';
import type { Argument, MemoryFile } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { compareCounter } from './counter.ts';
import { errorNumber, rc, responseIn } from './errors.ts';
import { otherPolicy } from './object-policy.ts';
import { useParent } from './parents.ts';
import { type HashName, selectionText } from './pcrs.ts';
import { type PcrBinding, pcrMismatch } from './read-pcrs.ts';
import { byPassword, bySession, type Sequence } from './sequence.ts';
import type { SignatureFiles } from './signatures.ts';
import { authorize, signatureForNow } from './signed.ts';
import type { SealedObject } from './tpm.ts';

/** Of a failure that another password may mend. */
export const WRONG_PASSWORD = 'wrong password';

/** @throws AppError what `Tpm.unseal` throws */
export async function unseal(
  sequence: Sequence,
  object: SealedObject,
  password: Secret | null,
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
  const parentAuth = policyHash === null ? ['-P', bySession(session)] : [];
  const files = ['-u', publicFile, '-r', privateFile, '-c', loaded];
  await sequence.run('tpm2_load', ['-Q', '-C', parentFile, ...parentAuth, ...files]);
  const result = await sequence.attempt('tpm2_unseal', [
    '-c',
    loaded,
    ...(password === null ? [] : ['-p', byPassword(sequence, password)]),
    ...(await unsealAuth(sequence, session, policyHash, pcrs)),
  ]);
  if (result.status === 0) return Secret.takeFrom(result.stdout);
  const response = responseIn(result.stderr);
  if (password !== null && response !== null && errorNumber(response.code) === rc.AUTH_FAIL) {
    throw new AppError('refused', 'the TPM refuses this password', { cause: WRONG_PASSWORD });
  }
  if (response !== null && errorNumber(response.code) === rc.POLICY_FAIL) {
    if (pcrs !== null) throw await pcrMismatch(sequence, pcrs);
    if (policyHash !== null) throw otherPolicy();
  }
  throw await sequence.explain('tpm2_unseal', result);
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
  return ['-p', bySession(session)];
}
