import { AppError } from '../base/errors.ts';
import type { MemoryFile } from '../base/ports.ts';
import { WRONG_SIGNATURE } from './errors.ts';
import { type PcrSelection, selectionText } from './pcrs.ts';
import { authorizedPolicyDigest, pcrPolicyDigest } from './policy.ts';
import { fingerprintOf, nameOf, type PolicyKey, publicAreaOf, signedDigest } from './policy-key.ts';
import { pcrsText, readPcrs } from './read-pcrs.ts';
import type { Sequence } from './sequence.ts';
import type { PolicySignature, SignatureFiles } from './signatures.ts';

/** PCRs whose values somebody vouches for, beforehand, by a signature: an update brings its own along. */
export interface SignedPcrs {
  readonly key: PolicyKey;
  readonly selection: PcrSelection;
}

/** The digest of what `authorize` does to a policy session. */
export function signedPolicyDigest({ key }: SignedPcrs): Buffer {
  return authorizedPolicyDigest(nameOf(key));
}

/** Of RSA with 2048 bits. */
const SIGNATURE_BYTES = 256;

/** @throws AppError what `chooseSignature` throws, and `readPcrs` */
export async function signatureForNow(
  sequence: Sequence,
  signed: SignedPcrs,
  readSignatures: () => Promise<SignatureFiles>,
): Promise<PolicySignature> {
  const files = await readSignatures();
  return chooseSignature(signed, await readPcrs(sequence, signed.selection), files);
}

/**
 * The signature by this key for these PCRs with these values.
 * @param values of the selected PCRs, one after the other, ascending
 * @throws AppError `pcr-mismatch` when there is none, `damaged` when a file could not be read that may have it
 */
export function chooseSignature(
  signed: SignedPcrs,
  values: Buffer,
  { signatures, paths, fault }: SignatureFiles,
): PolicySignature {
  const { key, selection } = signed;
  const policy = pcrPolicyDigest('sha256', selection, values);
  const fingerprint = fingerprintOf(key);
  const byKey = signatures.filter((one) => one.fingerprint === fingerprint);
  const forPcrs = byKey.filter(
    (one) => one.bank === selection.bank && one.pcrs.join() === selection.ids.join(),
  );
  const chosen = forPcrs.find((one) => one.policy.equals(policy));
  if (chosen?.signature.length === SIGNATURE_BYTES) return chosen;
  if (chosen !== undefined) {
    throw new AppError(
      'damaged',
      `${chosen.path}: expected a signature of ${SIGNATURE_BYTES} bytes, got ${chosen.signature.length}`,
    );
  }
  if (fault !== null) throw fault;
  const names = `${pcrsText(selection.ids)} (bank ${selection.bank})`;
  throw new AppError('pcr-mismatch', reasonFor(names, paths, signatures, byKey, forPcrs), {
    hint: 'an update brings signatures for what it boots; else open the volume with another key and seal this one again',
  });
}

function reasonFor(
  names: string,
  paths: readonly string[],
  all: readonly PolicySignature[],
  byKey: readonly PolicySignature[],
  forPcrs: readonly PolicySignature[],
): string {
  const where = paths.join(', ');
  if (all.length === 0)
    return `${names}: no signed policy, there is no tpm2-pcr-signature.json${paths.length === 0 ? '' : ' with one'}`;
  if (byKey.length === 0) return `${names}: no signature in ${where} is by the policy key sealed to`;
  if (forPcrs.length === 0) {
    const [other] = byKey;
    return `${names}: the policy key's signatures in ${where} are for others (${other?.bank}:${other?.pcrs.join()})`;
  }
  return `${names} changed: no signature in ${where} is for the present values`;
}

/** What the TPM says of it is the same (errors.ts). */
export function wrongSignature({ path }: PolicySignature): AppError {
  return new AppError('damaged', `${path}: ${WRONG_SIGNATURE}`);
}

/**
 * Brings a new policy session to `signedPolicyDigest`: the TPM compares the PCRs, checks the signature, and takes the
 * policy that the key approved for the policy itself (TPM 2.0 Part 3 §20.1, §23.16).
 * @throws AppError `damaged` when the signature is not by the key
 */
export async function authorize(
  sequence: Sequence,
  session: MemoryFile,
  { key, selection }: SignedPcrs,
  signature: PolicySignature,
): Promise<void> {
  const [context, ticket] = [sequence.file(), sequence.file()];
  // A ticket of the null hierarchy would be empty, and PolicyAuthorize takes none such (Part 2 §10.6.5).
  await sequence.run('tpm2_loadexternal', [
    ...['-Q', '-C', 'o', '-u', sequence.file(publicAreaOf(key)), '-c', context],
  ]);
  await sequence.freeObjects();
  // With a digest the hash is not to be named: SHA-256 is the default.
  const digest = sequence.file(signedDigest(signature.policy));
  try {
    await sequence.run('tpm2_verifysignature', [
      ...['-Q', '-c', context, '-f', 'rsassa', '-d', digest],
      ...['-s', sequence.file(signature.signature), '-t', ticket],
    ]);
  } catch (thrown) {
    throw thrown instanceof AppError ? thrown.at(signature.path) : thrown;
  }
  await sequence.freeObjects();
  await sequence.run('tpm2_policypcr', ['-Q', '-S', session, '-l', selectionText(selection)]);
  await sequence.run('tpm2_policyauthorize', [
    ...['-Q', '-S', session, '-i', sequence.file(signature.policy)],
    ...['-n', sequence.file(nameOf(key)), '-t', ticket],
  ]);
}
