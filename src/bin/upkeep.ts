import { X509Certificate } from 'node:crypto';
import { limits } from '../base/limits.ts';
import type { ServeOptions } from '../cli/server/world.ts';
import { identityToPem } from '../identity/identity.ts';
import { durableFiles } from '../os/durable-files.ts';
import { files } from '../os/files.ts';
import { freeBytes } from '../os/free-bytes.ts';
import { newFile } from '../os/new-file.ts';
import type { Upkeep } from '../server/api/upkeep.ts';
import { writeBackup } from '../server/store/backup.ts';
import type { DatabaseStore } from '../server/store/open.ts';
import type { Alerts } from './alerts.ts';
import { givenFile } from './given-files.ts';
import { type MasterKeys, toNextKey } from './master-keys.ts';
import { CHAIN, type KeysOfServer } from './own-keys.ts';

/** What an identity is called in a backup. */
export const IDENTITY = 'identity.pem';

interface Parts {
  readonly options: ServeOptions;
  readonly keys: KeysOfServer;
  readonly masterKeys: MasterKeys;
  readonly store: DatabaseStore;
  readonly alerts: Pick<Alerts, 'webhooks'>;
}

/** The server's files: backups, master keys, and what can be said of them. */
export function upkeepOf({ options, keys, masterKeys, store, alerts }: Parts): Upkeep {
  const { state } = options;
  const backups = `${state}/backups`;
  return {
    async backup(passphrase) {
      durableFiles.makeFolder(backups);
      const when = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
      const path = `${backups}/${when}.backup`;
      const own = new Map([[IDENTITY, identityToPem(keys.current)]]);
      const chain = await files.read(`${state}/${CHAIN}`, limits.serverKeysBytes);
      if (chain !== null) own.set(CHAIN, chain);
      await using file = await newFile(path);
      await writeBackup(store, own, passphrase, (sealed) => file.write(sealed));
      await file.keep();
      return path;
    },

    rotateMaster: () => toNextKey(store, masterKeys, state),

    async facts() {
      const certificate = options.tang?.certificate;
      const pem = certificate === undefined ? null : await givenFile(certificate, 64 * 1024);
      return {
        masterKeyFile: masterKeys.file,
        freeBytes: await freeBytes(state),
        tangCertificateEndsMs: pem === null ? null : new X509Certificate(pem).validToDate.getTime(),
        webhooksDropped: alerts.webhooks.reduce((sum, { dropped }) => sum + dropped, 0),
        newestBackup: (await files.list(backups)).filter((name) => name.endsWith('.backup')).at(-1) ?? null,
      };
    },
  };
}
