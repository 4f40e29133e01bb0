import type { Files, Locks, MemoryFiles, Runner } from '../base/ports.ts';
import { checkCounter } from './counter.ts';
import { property } from './lockout.ts';
import { nth } from './measured.ts';
import { otherPolicy, policyDigest } from './object-policy.ts';
import { useParent } from './parents.ts';
import type { HashName, PcrSelection } from './pcrs.ts';
import { hasSigned } from './policy-key.ts';
import { pcrMismatch, readPcrs } from './read-pcrs.ts';
import { inSequence } from './sequence.ts';
import { readSignatures } from './signatures.ts';
import { signatureForNow, wrongSignature } from './signed.ts';
import { policyIn } from './structures.ts';
import { Tools, type TpmSettings } from './tools.ts';
import type { SealedObject } from './tpm.ts';

/** `tpm2_getcap properties-variable` (TPM 2.0 Part 2 §6.13). */
export interface TpmProperties {
  /** Failed authorizations that it has not forgiven yet. */
  readonly lockoutCounter: number;
  readonly maxAuthFail: number;
  readonly isLockedOut: boolean;
  /** How many more persistent objects there is room for, at least; null: it does not say. */
  readonly persistentFree: number | null;
  /** How many more NV counters, likewise. */
  readonly countersFree: number | null;
}

/** Looks at the TPM and changes nothing; nothing is unsealed. */
export interface TpmLook {
  /**
   * Whether the object is this TPM's and its policy is met now: all of unsealing but the unsealing.
   * @throws AppError what `Tpm.unseal` throws
   */
  wouldUnseal(object: SealedObject, signal: AbortSignal): Promise<void>;
  /** @throws AppError `bad-config` (no such bank), `unavailable`, `tool-missing`, `stopped` */
  pcrs(selection: PcrSelection, signal: AbortSignal): Promise<Buffer>;
  /** @throws AppError `unavailable`, `tool-missing`, `stopped` */
  properties(signal: AbortSignal): Promise<TpmProperties>;
}

interface Ports {
  readonly runner: Runner;
  readonly memoryFiles: MemoryFiles;
  readonly locks: Locks;
  readonly files: Pick<Files, 'read'>;
}

export function tpmLookByTools(ports: Ports, settings: TpmSettings): TpmLook {
  const tools = new Tools(ports.runner, settings);
  return {
    async wouldUnseal(object, signal) {
      const { settled } = await inSequence(tools, ports, signal, async (sequence) => {
        const { parent, pcrs, signed, rollback = null } = object;
        if (signed !== null) {
          const found = await signatureForNow(sequence, signed, () => readSignatures(ports.files));
          if (!hasSigned(signed.key, found.policy, found.signature)) throw wrongSignature(found);
        }
        const parentFile = await useParent(sequence, parent);
        if (parent.kind === 'primary') await sequence.freeObjects();
        const area = ['-u', sequence.file(object.publicArea), '-r', sequence.file(object.privateArea)];
        await sequence.run('tpm2_load', ['-Q', '-C', parentFile, ...area, '-c', sequence.file()]);
        if (rollback !== null) await checkCounter(sequence, rollback);
        if (pcrs === null && signed === null && rollback === null) return;
        await sequence.freeObjects();
        const hash = parent.kind === 'primary' ? parent.hash : 'sha256';
        const now = pcrs === null ? null : { ...pcrs, values: await readPcrs(sequence, pcrs.selection) };
        const policy = policyDigest(hash, { signed, rollback, pcrs: now });
        if (policy !== null && policyIn(object.publicArea)?.equals(policy) === true) return;
        throw pcrs === null ? otherPolicy() : await pcrMismatch(sequence, pcrs);
      });
      await settled;
    },
    async pcrs(selection, signal) {
      const { value, settled } = await inSequence(tools, ports, signal, (sequence) =>
        readPcrs(sequence, selection),
      );
      await settled;
      return value;
    },
    async properties(signal) {
      const text = (await tools.run('tpm2_getcap', ['properties-variable'], signal)).toString();
      return {
        lockoutCounter: property(text, 'TPM2_PT_LOCKOUT_COUNTER') ?? 0,
        maxAuthFail: property(text, 'TPM2_PT_MAX_AUTH_FAIL') ?? 0,
        isLockedOut: /^\s*inLockout:\s*1\s*$/m.test(text),
        persistentFree: property(text, 'TPM2_PT_HR_PERSISTENT_AVAIL'),
        countersFree: property(text, 'TPM2_PT_NV_COUNTERS_AVAIL'),
      };
    },
  };
}

/** The PCRs that hold nothing but what they are reset to: nothing was measured into them. */
export function unusedPcrs(
  { bank, ids }: { bank: HashName; ids: readonly number[] },
  values: Buffer,
): number[] {
  return ids.filter((_, index) => nth(values, index, bank).every((byte) => byte === 0));
}

/** Those whose values differ. */
export function changedPcrs(
  { bank, ids }: { bank: HashName; ids: readonly number[] },
  then: Buffer,
  now: Buffer,
): number[] {
  return ids.filter((_, index) => !nth(then, index, bank).equals(nth(now, index, bank)));
}
