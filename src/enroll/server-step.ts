import { asAppError, failureLine } from '../base/errors.ts';
import { loadConfig } from '../config/load.ts';
import { parseSealedKey } from '../pins/table.ts';
import { keyServersOf } from '../remote/key-servers.ts';
import type { EnrolStep } from './context.ts';

/**
 * Sealing has made a key at each key server that has a part in it, before anything was written here. One that stays is
 * of use to nobody, so a server that is away, or gone for ever, keeps nothing from being undone.
 */
export const serverKeys: EnrolStep = {
  title: 'deleting the keys at servers',
  async do() {},
  async undo({ record, places, world }, signal) {
    if (record.store.kind !== 'token' && record.store.kind !== 'file') return;
    const servers = await keyServersOf(await loadConfig(world.files, places.etc), world.serverWorld);
    for (const { server: pin, kid } of parseSealedKey(record.sealedKey).uses) {
      if (pin === undefined || kid === undefined) continue;
      const server = servers.byPin(pin);
      try {
        await server?.deleteKey(kid, signal);
      } catch (thrown) {
        const reason = failureLine(asAppError(thrown));
        world.say(`note: key ${kid} stays at server ${server?.name}, of no use to anybody: ${reason}`);
      }
    }
  },
};
