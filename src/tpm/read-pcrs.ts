import { AppError } from '../base/errors.ts';
import { differingPcrs, hashes, type PcrSelection, selectionText, valuesLength } from './pcrs.ts';
import type { Sequence } from './sequence.ts';

/** PCRs that an object is sealed to. */
export interface PcrBinding {
  readonly selection: PcrSelection;
  /** Their values at sealing, one after the other, ascending; null where the sealed key does not tell. */
  readonly values: Buffer | null;
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
  const names = `${pcrsText(changed)} (bank ${selection.bank})`;
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

/** `PCR 7`, `PCRs 0, 7`. */
export function pcrsText(ids: readonly number[]): string {
  return `${ids.length === 1 ? 'PCR' : 'PCRs'} ${ids.join(', ')}`;
}
