import { fromBase64url } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { isObject, shown } from '../jwe/compact.ts';
import { parseIndex } from '../tpm/counter.ts';
import { parentKeys } from '../tpm/parents.ts';
import {
  type HashName,
  hashNames,
  isHashName,
  type PcrSelection,
  parsePcrIds,
  valuesLength,
} from '../tpm/pcrs.ts';
import type { SealPlan } from '../tpm/tpm.ts';

/** What the TPM measures of Secure Boot: changes when keys or its state do, not with each update of the kernel. */
const DEFAULT_PCR_IDS = [7];
/** Clevis takes sha1, which many TPMs have switched off. */
const DEFAULT_PCR_BANK = 'sha256';

/** What the stub of a unified kernel image measures of it: other software may measure the same, so 7 goes with it. */
const DEFAULT_SIGNED_PCR_IDS = [11];

const clevisFields = ['clevis', 'hash', 'key', 'pcr_bank', 'pcr_ids', 'pcr_digest'] as const;
const fields = [...clevisFields, 'public_key', 'public_key_pcrs', 'rollback_counter', 'with_pin'] as const;
type Field = (typeof fields)[number];
/** The value of a field, or what stands for it when it is absent. */
type Given = (field: Field, otherwise: unknown) => unknown;

/** The key is in a file, which is read afterwards. */
export interface Tpm2Config {
  /** A PIN is asked for, and nothing else guards it. */
  readonly withPin: boolean;
  readonly plan: SealPlan;
  readonly publicKey: { readonly path: string; readonly selection: PcrSelection } | null;
}

/**
 * The pin's configuration, with Clevis' names (clevis-encrypt-tpm2(1)):
 * - `clevis`: true seals as Clevis does, for `clevis decrypt` too; default false
 * - `hash`: name algorithm of parent and object, only with `clevis`; default `sha256`
 * - `key`: type of the parent key, only with `clevis`; default `ecc`
 * - `pcr_bank`: default `sha256`
 * - `pcr_ids`: `"0,7"`, or a list; empty for no policy. Default `"7"`; with `clevis` none
 * - `pcr_digest`: the PCRs' values to seal to, one after the other, base64url; default those of now
 * and with systemd's (systemd-cryptenroll(1), `--tpm2-public-key=`):
 * - `public_key`: PEM file of the RSA key whose signatures of PCR values are accepted too; default none
 * - `public_key_pcrs`: the PCRs that it signs for, besides those of `pcr_ids`; default `"11"`
 * and of our own:
 * - `rollback_counter`: NV index (`"0x01800100"`) of the counter by which it can be retired later; default none
 * - `with_pin`: true asks for a PIN, now and at each unsealing; to no PCR then, as `sss` seals to both. Default false
 * @throws AppError `bad-config`
 */
export function readConfig(config: unknown): Tpm2Config {
  if (!isObject(config)) throw wrong('config', 'an object', config);
  const unknown = Object.keys(config).find((name) => !fields.some((field) => field === name));
  if (unknown !== undefined) throw wrong(unknown, `no field but ${fields.join(', ')}`, config[unknown]);
  const given: Given = (field, otherwise) => (Object.hasOwn(config, field) ? config[field] : otherwise);
  const clevis = given('clevis', false);
  if (typeof clevis !== 'boolean') throw wrong('clevis', 'true or false', clevis);
  const withPin = given('with_pin', false);
  if (typeof withPin !== 'boolean') throw wrong('with_pin', 'true or false', withPin);
  if (withPin) return pinAlone(config);
  const plan = {
    parent: readParent(given, clevis),
    pcrs: readPcrs(given, clevis),
    rollbackIndex: readIndex(given, clevis),
  };
  if (plan.parent !== 'storage-key' && plan.parent.hash !== 'sha256' && plan.pcrs !== null) {
    const hint = 'clevis decrypt could not open it: its policy session is always of SHA-256';
    throw wrong('hash', 'sha256 together with pcr_ids', plan.parent.hash, hint);
  }
  return { withPin, plan, publicKey: readPublicKey(given, clevis, plan.pcrs?.selection.ids ?? []) };
}

function pinAlone(config: Readonly<Record<string, unknown>>): Tpm2Config {
  const [other] = Object.keys(config).filter((name) => name !== 'with_pin');
  if (other !== undefined) {
    const hint = 'for both: seal sss \'{"t": 2, "pins": {"tpm2": [{}, {"with_pin": true}]}}\'';
    throw wrong(other, 'nothing beside "with_pin": true', config[other], hint);
  }
  return { withPin: true, plan: { parent: 'storage-key', pcrs: null }, publicKey: null };
}

function readIndex(given: Given, clevis: boolean): number | null {
  const value = given('rollback_counter', undefined);
  if (value === undefined) return null;
  if (clevis) {
    throw wrong('rollback_counter', 'nothing beside "clevis": true', value, 'Clevis has no such counters');
  }
  const index = parseIndex(value);
  if (index === null) {
    throw wrong('rollback_counter', 'an NV index from "0x01800000" to "0x01bfffff"', value);
  }
  return index;
}

function readPublicKey(given: Given, clevis: boolean, others: readonly number[]): Tpm2Config['publicKey'] {
  const path = given('public_key', undefined);
  const list = given('public_key_pcrs', undefined);
  if (path === undefined) {
    if (list !== undefined) throw wrong('public_key_pcrs', 'nothing without public_key', list);
    return null;
  }
  if (typeof path !== 'string' || path === '') throw wrong('public_key', 'the name of a PEM file', path);
  if (clevis)
    throw wrong('public_key', 'nothing beside "clevis": true', path, 'Clevis has no signed policies');
  const ids = parsePcrIds(list ?? DEFAULT_SIGNED_PCR_IDS);
  if (ids === null || ids.length === 0) {
    throw wrong('public_key_pcrs', 'numbers from 0 to 23, as "11" or as a list', list);
  }
  if (ids.length > limits.pcrsPerPolicy)
    throw wrong('public_key_pcrs', `at most ${limits.pcrsPerPolicy} PCRs`, list);
  const both = ids.filter((id) => others.includes(id));
  if (both.length > 0) {
    const hint = 'what is sealed to one value opens with no other, signed or not: leave it out of pcr_ids';
    throw wrong('public_key_pcrs', 'no PCR of pcr_ids', both.join(','), hint);
  }
  return { path, selection: { bank: readBank(given), ids } };
}

function readParent(given: Given, clevis: boolean): SealPlan['parent'] {
  if (!clevis) {
    for (const field of ['hash', 'key'] as const) {
      const value = given(field, undefined);
      const hint = 'it describes the parent key that Clevis uses: add "clevis": true to seal under that';
      if (value !== undefined) throw wrong(field, 'nothing', value, hint);
    }
    return 'storage-key';
  }
  const hash = given('hash', 'sha256');
  if (!isHashName(hash)) throw wrong('hash', `one of ${hashNames.join(', ')}`, hash);
  const keyGiven = given('key', 'ecc');
  const key = parentKeys.find((name) => name === keyGiven);
  if (key === undefined) throw wrong('key', `one of ${parentKeys.join(', ')}`, keyGiven);
  return { kind: 'primary', hash, key };
}

function readBank(given: Given): HashName {
  const bank = given('pcr_bank', DEFAULT_PCR_BANK);
  if (!isHashName(bank)) throw wrong('pcr_bank', `one of ${hashNames.join(', ')}`, bank);
  return bank;
}

function readPcrs(given: Given, clevis: boolean): SealPlan['pcrs'] {
  const bank = readBank(given);
  const list = given('pcr_ids', clevis ? [] : DEFAULT_PCR_IDS);
  const ids = parsePcrIds(list);
  if (ids === null) throw wrong('pcr_ids', 'numbers from 0 to 23, as "0,7" or as a list', list);
  if (ids.length > limits.pcrsPerPolicy) throw wrong('pcr_ids', `at most ${limits.pcrsPerPolicy} PCRs`, list);
  const digest = given('pcr_digest', undefined);
  if (ids.length === 0) {
    if (digest !== undefined) throw wrong('pcr_digest', 'nothing without pcr_ids', digest);
    return null;
  }
  const selection = { bank, ids };
  if (digest === undefined) return { selection, values: null };
  const values = typeof digest === 'string' ? fromBase64url(digest) : null;
  if (values?.length === valuesLength(selection)) return { selection, values };
  throw wrong('pcr_digest', `${valuesLength(selection)} bytes as base64url`, digest);
}

function wrong(field: string, expected: string, got: unknown, hint?: string): AppError {
  const message = `pin tpm2: ${field}: expected ${expected}, got ${shown(got)}`;
  return new AppError('bad-config', message, { hint });
}
