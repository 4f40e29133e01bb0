import * as v from 'valibot';
import {
  type ProtectSettings,
  protectByDefault,
  protectMethods,
  protectModes,
} from '../protection/settings.ts';
import type { Reader } from './reader.ts';

/** At the top of config.yaml. */
export const protectEntries = {
  'protect-with-tpm': v.picklist(protectModes, protectModes.join(', ')),
  protection: v.picklist(protectMethods, protectMethods.join(', ')),
} as const;

/** How what the machine keeps is protected. What is wrong is noted. */
export function protectSettings(reader: Reader, content: Readonly<Record<string, unknown>>): ProtectSettings {
  const { 'protect-with-tpm': mode, protection: method } = content;
  return {
    mode: given(mode, protectEntries['protect-with-tpm'], 'protect-with-tpm') ?? protectByDefault.mode,
    method: given(method, protectEntries.protection, 'protection'),
  };

  function given<T>(value: unknown, schema: v.GenericSchema<unknown, T>, field: string): T | null {
    return value === undefined ? null : reader.parsed(schema, value, [field]);
  }
}
