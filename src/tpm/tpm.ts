import { AppError } from '../base/errors.ts';
import type { Files, Locks, MemoryFiles, Runner } from '../base/ports.ts';
import type { Secret } from '../base/secret.ts';
import { unwrap, type WrappedSecret, wrap } from './aes-key.ts';
import { advanceTo, hasCounter, type RollbackLimit, removeCounter } from './counter.ts';
import type { Marks } from './measured.ts';
import type { Parent } from './parents.ts';
import type { PcrBinding } from './read-pcrs.ts';
import { seal } from './seal.ts';
import { inSequence } from './sequence.ts';
import { readSignatures } from './signatures.ts';
import type { SignedPcrs } from './signed.ts';
import { Tools, type TpmSettings } from './tools.ts';
import { unseal } from './unseal.ts';

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
  /** Salt of the PIN that its password is made of; none, when it has no password. Nothing else depends on it. */
  readonly pinSalt?: Buffer | null;
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
  /**
   * 1 to 32 bytes of text, which unsealing will take. The TPM counts wrong ones, and locks itself after too many (TPM 2.0
   * Part 1 §19.8). Nothing that has a policy has one, which would open without it. Default none.
   */
  readonly password?: Secret | null;
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
   * @throws AppError `refused` with the cause `WRONG_PASSWORD`
   * @throws AppError `pcr-mismatch`, `foreign-tpm`, `damaged`, `unavailable` (no TPM, lockout, out of memory, …),
   *   `tool-missing`, `stopped`
   */
  unseal(object: SealedObject, signal: AbortSignal, password?: Secret | null): Promise<Unsealed>;
  /**
   * Encrypts with an AES-256-CFB key that the TPM keeps, made when it is absent.
   * @param iv 16 random bytes
   * @throws AppError `bad-config` (no TPM2_EncryptDecrypt2, no AES-256), `foreign-tpm` (another key at 0x81000001),
   *   `refused`, `unavailable` (no free handle), `tool-missing`, `stopped`
   */
  wrap(secret: Secret, iv: Buffer, signal: AbortSignal): Promise<WrappedSecret>;
  /** @throws AppError `foreign-tpm` (another object at the handle, or none), `unavailable`, `tool-missing`, `stopped` */
  unwrap(wrapped: WrappedSecret, signal: AbortSignal): Promise<Secret>;
  /**
   * What was sealed with a lower limit of this counter does not open any more, on this TPM, ever.
   * @throws AppError `foreign-tpm` (no such counter), `refused`, `unavailable`, `tool-missing`, `stopped`
   */
  retire(rollback: RollbackLimit, signal: AbortSignal): Promise<void>;
  /** Whether something is at the counter's NV index. @throws AppError `unavailable`, `tool-missing`, `stopped` */
  hasCounter(index: number, signal: AbortSignal): Promise<boolean>;
  /**
   * What was sealed with this counter does not open any more, on this TPM, ever.
   * @throws AppError `refused`, `unavailable`, `tool-missing`, `stopped`
   */
  removeCounter(index: number, signal: AbortSignal): Promise<void>;
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
    async unseal(object, signal, password = null) {
      const { value, settled } = await inSequence(tools, ports, signal, (sequence) =>
        unseal(sequence, object, password, () => readSignatures(ports.files)),
      );
      return { secret: value, settled };
    },
    async wrap(secret, iv, signal) {
      const { value, settled } = await inSequence(tools, ports, signal, (sequence) =>
        wrap(sequence, secret, iv),
      );
      await settled;
      return value;
    },
    async unwrap(wrapped, signal) {
      const { value, settled } = await inSequence(tools, ports, signal, (sequence) =>
        unwrap(sequence, wrapped),
      );
      await settled;
      return value;
    },
    async retire(rollback, signal) {
      const { settled } = await inSequence(tools, ports, signal, (sequence) => advanceTo(sequence, rollback));
      await settled;
    },
    async hasCounter(index, signal) {
      const { value, settled } = await inSequence(tools, ports, signal, (sequence) =>
        hasCounter(sequence, index),
      );
      await settled;
      return value;
    },
    async removeCounter(index, signal) {
      const { settled } = await inSequence(tools, ports, signal, (sequence) =>
        removeCounter(sequence, index),
      );
      await settled;
    },
  };
}
