import { AppError } from '../base/errors.ts';
import { counterPolicyDigest } from './counter.ts';
import type { HashName } from './pcrs.ts';
import { pcrPolicyDigest } from './policy.ts';
import type { PcrBinding } from './read-pcrs.ts';
import { signedPolicyDigest } from './signed.ts';
import type { SealedObject } from './tpm.ts';

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

/** Its policy is met, and is another one. */
export function otherPolicy(): AppError {
  return new AppError('damaged', "the sealed object's policy is not the one that the sealed key tells");
}
