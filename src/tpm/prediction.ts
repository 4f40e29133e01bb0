import { AppError } from '../base/errors.ts';
import type { Files } from '../base/ports.ts';
import type { TpmLook } from './look.ts';
import { accountsFor, changesSince, type EventChange, nth, readEventLog } from './measured.ts';
import type { HashName, PcrSelection } from './pcrs.ts';
import { readSignatures } from './signatures.ts';
import { chooseSignature, type SignedPcrs } from './signed.ts';
import type { SealedObject } from './tpm.ts';

/** A PCR that the object is sealed to. */
export interface PcrNow {
  readonly pcr: number;
  /** `unknown`: the sealed key does not tell its value, as Clevis' do not, and the TPM refuses. */
  readonly state: 'same' | 'changed' | 'unknown';
  /** What changed it; null: nothing did, or it is not known, as `why` says. */
  readonly events: readonly EventChange[] | null;
  readonly why: string | null;
}

export interface Prediction {
  /** Why the TPM would not unseal it now; null: it would. */
  readonly fault: AppError | null;
  readonly bank: HashName | null;
  readonly pcrs: readonly PcrNow[];
  /** The PCRs that somebody signs for; `path`: where a signature for their present values is, null = nowhere. */
  readonly signed: { readonly ids: readonly number[]; readonly path: string | null } | null;
}

export interface PredictionWorld {
  readonly tpmLook: TpmLook;
  readonly files: Pick<Files, 'read'>;
}

/**
 * Whether the object's PCRs have the values that it was sealed to, and what the firmware's log says of those that have
 * not. Nothing is unsealed.
 * @throws AppError `unavailable`, `bad-config` (no such bank), `tool-missing`, `stopped`
 */
export async function predict(
  object: SealedObject,
  { tpmLook, files }: PredictionWorld,
  signal: AbortSignal,
): Promise<Prediction> {
  const fault = await faultOf(object, tpmLook, signal);
  const { pcrs, signed } = object;
  const bank = (pcrs ?? signed)?.selection.bank ?? null;
  return {
    fault,
    bank,
    pcrs: pcrs === null ? [] : await pcrsNow(object, pcrs.selection, fault, { tpmLook, files }, signal),
    signed: signed === null ? null : await signedNow(signed, { tpmLook, files }, signal),
  };
}

async function faultOf(object: SealedObject, look: TpmLook, signal: AbortSignal): Promise<AppError | null> {
  try {
    await look.wouldUnseal(object, signal);
    return null;
  } catch (thrown) {
    if (signal.aborted || !(thrown instanceof AppError) || thrown.exitStatus === 5) throw thrown;
    return thrown;
  }
}

async function pcrsNow(
  { pcrs, marks }: SealedObject,
  selection: PcrSelection,
  fault: AppError | null,
  { tpmLook, files }: PredictionWorld,
  signal: AbortSignal,
): Promise<PcrNow[]> {
  const then = pcrs?.values ?? null;
  const { ids, bank } = selection;
  if (then === null) {
    const state = fault?.code === 'pcr-mismatch' ? 'unknown' : 'same';
    return ids.map((pcr) => ({ pcr, state, events: null, why: null }));
  }
  const now = await tpmLook.pcrs(selection, signal);
  const log = await readEventLog(files);
  return ids.map((pcr, index): PcrNow => {
    const value = nth(now, index, bank);
    if (value.equals(nth(then, index, bank))) return { pcr, state: 'same', events: null, why: null };
    const unexplained = (why: string): PcrNow => ({ pcr, state: 'changed', events: null, why });
    if (log === null) return unexplained('this machine shows no event log');
    if (!accountsFor(log, pcr, bank, value)) {
      return unexplained('the event log does not account for its value: it was extended after the firmware');
    }
    const mark = marks?.get(pcr);
    if (mark === undefined) return unexplained('what had been measured when the key was sealed is not known');
    return { pcr, state: 'changed', events: changesSince(mark, log, pcr, bank), why: null };
  });
}

async function signedNow(
  signed: SignedPcrs,
  { tpmLook, files }: PredictionWorld,
  signal: AbortSignal,
): Promise<Prediction['signed']> {
  const { ids } = signed.selection;
  const values = await tpmLook.pcrs(signed.selection, signal);
  try {
    return { ids, path: chooseSignature(signed, values, await readSignatures(files)).path };
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown;
    return { ids, path: null };
  }
}
