import { fromBase64url, toBase64url } from '../base/bytes.ts';
import { damaged, isObject, shown } from '../jwe/compact.ts';
import { indexText, parseIndex, type RollbackLimit } from '../tpm/counter.ts';
import { MARK_BYTES, type Marks } from '../tpm/measured.ts';
import { parentKeys } from '../tpm/parents.ts';
import { hashes, hashNames, isHashName, type PcrSelection, parsePcrIds } from '../tpm/pcrs.ts';
import { policyKey } from '../tpm/policy-key.ts';
import type { SignedPcrs } from '../tpm/signed.ts';
import { isSealedPrivate, isSealedPublic, parseStorageKey } from '../tpm/structures.ts';
import type { PcrBinding, SealedObject } from '../tpm/tpm.ts';

/**
 * The object `clevis.tpm2` of the protected header. Two forms, told apart by `srk`:
 *
 * Clevis' own, for an object under a primary key that is made anew each time:
 * `hash` (name algorithm), `key` (`ecc`, `rsa`), `jwk_pub`, `jwk_priv` (TPM2B_PUBLIC and TPM2B_PRIVATE, base64url);
 * with a PCR policy also `pcr_bank` and `pcr_ids` (`"0,7"`).
 *
 * Ours, for an object under the persistent standard storage key:
 * `srk` (that key as a serialized ESYS_TR, base64url), `jwk_pub`, `jwk_priv`; with a PCR policy also `pcr_bank`,
 * `pcr_ids` and `pcrs`, the values sealed to: `{"7": base64url}`, and where the firmware's log told it `events`, the
 * first four bytes of each digest that was measured into them: `{"7": base64url}`; with signed PCRs also `pcr_bank`, `public_key` (the
 * policy key's modulus, base64url) and `public_key_pcrs` (`"11"`). No `hash` and no `key`, without which
 * `clevis decrypt` refuses at once, rather than trying the wrong parent.
 *
 * With a counter against rollback also `rollback_counter` (`"0x01800100"`) and `rollback_limit` (decimal, as text).
 *
 * With a PIN `pin_salt` (base64url, src/pins/tpm2-pin.ts), and nothing of a policy.
 *
 * Where the signatures are it does not say: who writes to the header must not choose what root reads.
 */
export function writeHeader(object: SealedObject): Record<string, unknown> {
  const { parent, pcrs, signed, rollback = null, pinSalt = null, marks = new Map() } = object;
  const objects = { jwk_pub: toBase64url(object.publicArea), jwk_priv: toBase64url(object.privateArea) };
  const policy =
    pcrs === null ? {} : { pcr_bank: pcrs.selection.bank, pcr_ids: pcrs.selection.ids.join(',') };
  if (parent.kind === 'primary') return { hash: parent.hash, key: parent.key, ...policy, ...objects };
  const values = pcrs?.values == null ? {} : { pcrs: valuesToJson(pcrs.selection, pcrs.values) };
  const authority = signed === null ? {} : signedToJson(signed);
  const counter =
    rollback === null
      ? {}
      : { rollback_counter: indexText(rollback.index), rollback_limit: String(rollback.limit) };
  const events =
    marks.size === 0
      ? {}
      : { events: Object.fromEntries([...marks].map(([pcr, bytes]) => [pcr, toBase64url(bytes)])) };
  return {
    srk: toBase64url(parent.key.serialized),
    ...policy,
    ...authority,
    ...counter,
    ...values,
    ...events,
    ...(pinSalt === null ? {} : { pin_salt: toBase64url(pinSalt) }),
    ...objects,
  };
}

/** @throws AppError `damaged` */
export function readHeader(own: Readonly<Record<string, unknown>>): SealedObject {
  const publicArea = bytesField(own, 'jwk_pub');
  const privateArea = bytesField(own, 'jwk_priv');
  if (!isSealedPublic(publicArea)) throw wrong(own, 'jwk_pub', "a sealed object's TPM2B_PUBLIC");
  if (!isSealedPrivate(privateArea)) throw wrong(own, 'jwk_priv', 'a TPM2B_PRIVATE');
  const selection = readSelection(own);
  const parent = own.srk === undefined ? readPrimary(own) : readStorageKey(own);
  const values = parent.kind === 'storage-key' && selection !== null ? readValues(own, selection) : null;
  const pcrs = selection === null ? null : { selection, values };
  const signed = readSigned(own);
  const rollback = readRollback(own);
  const pinSalt = own.pin_salt === undefined ? null : bytesField(own, 'pin_salt');
  if (
    pinSalt !== null &&
    (parent.kind === 'primary' || pcrs !== null || signed !== null || rollback !== null)
  ) {
    throw wrong(own, 'pin_salt', 'nothing beside a policy');
  }
  return {
    parent,
    publicArea,
    privateArea,
    pcrs,
    signed,
    rollback,
    pinSalt,
    marks: readMarks(own),
  };
}

function readRollback(own: Readonly<Record<string, unknown>>): RollbackLimit | null {
  const { rollback_counter: counter, rollback_limit: limit } = own;
  if (counter === undefined) return null;
  if (own.srk === undefined) throw wrong(own, 'rollback_counter', 'nothing without srk');
  const index = parseIndex(counter);
  if (index === null) throw wrong(own, 'rollback_counter', 'an NV index from 0x01800000 to 0x01bfffff');
  if (typeof limit !== 'string' || !/^\d{1,19}$/.test(limit)) {
    throw wrong(own, 'rollback_limit', 'a number as text');
  }
  return { index, limit: BigInt(limit) };
}

function readMarks(own: Readonly<Record<string, unknown>>): Marks {
  if (own.events === undefined) return new Map();
  const expected = `PCRs with a multiple of ${MARK_BYTES} bytes each as base64url`;
  if (!isObject(own.events)) throw wrong(own, 'events', expected);
  const marks = Object.entries(own.events).map(([id, text]): [number, Buffer] => {
    const bytes = typeof text === 'string' ? fromBase64url(text) : null;
    const [pcr, ...more] = parsePcrIds(id) ?? [];
    if (pcr === undefined || more.length > 0 || bytes === null || bytes.length % MARK_BYTES !== 0)
      throw wrong(own, 'events', expected);
    return [pcr, bytes];
  });
  return new Map(marks);
}

function readPrimary(own: Readonly<Record<string, unknown>>): SealedObject['parent'] {
  const { hash } = own;
  if (!isHashName(hash)) throw wrong(own, 'hash', `one of ${hashNames.join(', ')}`);
  const key = parentKeys.find((name) => name === own.key);
  if (key === undefined) throw wrong(own, 'key', `one of ${parentKeys.join(', ')}`);
  return { kind: 'primary', hash, key };
}

function readStorageKey(own: Readonly<Record<string, unknown>>): SealedObject['parent'] {
  for (const field of ['hash', 'key']) {
    if (own[field] !== undefined) throw wrong(own, field, 'nothing beside srk');
  }
  const key = parseStorageKey(bytesField(own, 'srk'));
  if (key === null) throw wrong(own, 'srk', 'the public part of a standard storage key');
  return { kind: 'storage-key', key };
}

function readSelection(
  own: Readonly<Record<string, unknown>>,
  field: 'pcr_ids' | 'public_key_pcrs' = 'pcr_ids',
): PcrSelection | null {
  const { [field]: list, pcr_bank: bank } = own;
  if (list === undefined) return null;
  const ids = parsePcrIds(list);
  if (ids === null) throw wrong(own, field, 'numbers from 0 to 23 with commas between');
  if (ids.length === 0) return null;
  if (!isHashName(bank)) throw wrong(own, 'pcr_bank', `one of ${hashNames.join(', ')}`);
  return { bank, ids };
}

function readSigned(own: Readonly<Record<string, unknown>>): SignedPcrs | null {
  if (own.public_key === undefined) return null;
  if (own.srk === undefined) throw wrong(own, 'public_key', 'nothing without srk');
  const key = policyKey(bytesField(own, 'public_key'));
  if (key === null) throw wrong(own, 'public_key', 'the modulus of an RSA key of 2048 bits');
  const selection = readSelection(own, 'public_key_pcrs');
  if (selection === null) throw wrong(own, 'public_key_pcrs', 'PCRs beside public_key');
  return { key, selection };
}

function signedToJson({ key, selection }: SignedPcrs): Record<string, string> {
  return {
    pcr_bank: selection.bank,
    public_key: toBase64url(key.modulus),
    public_key_pcrs: selection.ids.join(','),
  };
}

function readValues(
  own: Readonly<Record<string, unknown>>,
  { bank, ids }: PcrSelection,
): PcrBinding['values'] {
  const { pcrs } = own;
  const values = ids.map((id) => fromBase64url(String((pcrs as Record<string, unknown> | null)?.[id])));
  if (values.every((value) => value?.length === hashes[bank].bytes)) return Buffer.concat(values as Buffer[]);
  throw wrong(
    own,
    'pcrs',
    `the values of PCRs ${ids.join(', ')}, each ${hashes[bank].bytes} bytes as base64url`,
  );
}

function valuesToJson({ bank, ids }: PcrSelection, values: Buffer): Record<string, string> {
  const { bytes } = hashes[bank];
  return Object.fromEntries(
    ids.map((id, index) => [id, toBase64url(values.subarray(index * bytes, (index + 1) * bytes))]),
  );
}

function bytesField(own: Readonly<Record<string, unknown>>, field: string): Buffer {
  const value = own[field];
  const bytes = typeof value === 'string' ? fromBase64url(value) : null;
  if (bytes === null) throw wrong(own, field, 'base64url');
  return bytes;
}

function wrong(own: Readonly<Record<string, unknown>>, field: string, expected: string): Error {
  return damaged(`header field clevis.tpm2.${field}: expected ${expected}, got ${shown(own[field])}`);
}
