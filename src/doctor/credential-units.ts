import type { Files } from '../base/ports.ts';
import { unitsAt } from './credentials.ts';
import type { CredentialUse } from './facts.ts';
import type { Questions } from './questions.ts';
import { readUnit } from './unit-files.ts';

/** A socket that services ask for their secrets. */
export interface CredentialUnits {
  readonly socket: string;
  /** Template, or the one that serves all. */
  readonly handler: string;
  readonly isThere: boolean;
  readonly handlerIsThere: boolean;
  /** Services that may ask before it listens. */
  readonly late: readonly string[];
}

/** Whether services that ask for their secrets find somebody who answers. */
export async function credentialUnits(
  uses: readonly CredentialUse[],
  questions: Questions,
  files: Files,
  folders: readonly string[],
): Promise<CredentialUnits[]> {
  const served = uses.filter(({ refusal }) => refusal === null);
  const found: CredentialUnits[] = [];
  for (const path of new Set(served.map((use) => use.path))) {
    const units = unitsAt(path);
    if (units === null) continue;
    const { socket, handler } = units;
    const isThere = await isUsable(files, folders, socket);
    const handlerIsThere = await isUsable(files, folders, handler.replace('@.', '@doctor.'));
    const late: string[] = [];
    const services = new Set(served.filter((use) => use.path === path).map(({ unit }) => unit));
    for (const unit of isThere && handlerIsThere ? services : []) {
      // Of a template there may be no instance.
      if (!unit.includes('@.') && !(await questions.startsBefore(socket, unit))) late.push(unit);
    }
    found.push({ socket, handler, isThere, handlerIsThere, late });
  }
  return found;
}

async function isUsable(files: Files, folders: readonly string[], unit: string): Promise<boolean> {
  return (await readUnit(files, folders, unit))?.masked === false;
}
