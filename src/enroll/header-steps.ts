import { AppError } from '../base/errors.ts';
import { readLuksHeader } from '../luks/header.ts';
import { luks2Of } from '../luks/keyslots.ts';
import type { Metadata, Token } from '../luks/metadata.ts';
import { clevisTokenOf, jweOf } from '../luks/tokens.ts';
import type { EnrolStep, Undoing } from './context.ts';
import { keepsKeyslot } from './record.ts';

export const addKeyslot: EnrolStep = {
  title: 'adding the keyslot',
  async do({ record, keyslots, passphrase, key }, signal) {
    if (!keepsKeyslot(record)) await keyslots.add(record.keyslot, passphrase, await key(signal), signal);
  },
  async undo(context, signal) {
    const { record, keyslots, key } = context;
    const { salts } = await metadataOf(context);
    const salt = keepsKeyslot(record) ? undefined : salts[record.keyslot];
    if (salt === undefined) return;
    // It may be another's by now.
    const isOurs =
      record.salt === null
        ? await keyslots.opens(await key(signal), signal, record.keyslot)
        : record.salt === salt;
    if (isOurs) await keyslots.remove(record.keyslot, signal);
  },
};

export const storeToken: EnrolStep = {
  title: 'storing the sealed key',
  async do({ record: { store, sealedKey, keyslot }, keyslots }, signal) {
    if (store.kind === 'token') {
      await keyslots.addToken(store.id, clevisTokenOf(sealedKey, keyslot), signal);
    }
  },
  async undo(context, signal) {
    const { store, sealedKey, keyslot } = context.record;
    if (store.kind !== 'token' && store.kind !== 'replaced') return;
    const { tokens } = await metadataOf(context);
    const isMeant = (token: Token) =>
      store.kind === 'token'
        ? token.id === store.id && jweOf(token) === sealedKey
        : token.id === store.token && token.type === 'systemd-tpm2' && token.keyslots.includes(keyslot);
    const meant = tokens.find(isMeant);
    if (meant !== undefined) await context.keyslots.removeToken(meant.id, signal);
  },
};

/** @throws AppError `refused` when the device is another one by now; what reading it throws */
export async function metadataOf({ record, world }: Pick<Undoing, 'record' | 'world'>): Promise<Metadata> {
  const { device } = record;
  const { uuid, metadata } = luks2Of(await readLuksHeader(world.files, device), device);
  if (uuid === record.uuid) return metadata;
  throw new AppError('refused', `${device}: expected the LUKS volume ${record.uuid}, got ${uuid}`);
}
