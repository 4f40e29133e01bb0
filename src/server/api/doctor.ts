import type { KeyObject } from 'node:crypto';
import { serverLimits } from '../../base/server-limits.ts';
import type { ServerFinding } from '../../wire/operator.ts';
import { verifyAudit } from '../audit/verify.ts';
import { waiting } from '../machine/state.ts';
import { allHeads, allLinks, allMachines } from '../store/pages.ts';
import type { Reader } from '../store/store.ts';
import type { App } from './app.ts';
import type { ServerFacts } from './upkeep.ts';

/** What is wrong with the server, or soon will be. @throws AppError what the store throws */
export async function examine({
  store,
  keys,
  upkeep,
}: Pick<App, 'store' | 'keys' | 'upkeep'>): Promise<ServerFinding[]> {
  const { wallMs, leaseMs } = store.now();
  const facts = await upkeep.facts();
  const found = [...ofFacts(facts, wallMs)];
  await store.snapshot(async (reader) => {
    found.push(...(await ofAudit(reader, keys.publicKeys)));
    found.push(...(await ofMachines(reader, leaseMs)));
  });
  return found;
}

function* ofFacts(facts: ServerFacts, wallMs: number): Generator<ServerFinding> {
  const { masterKeyFile, freeBytes, tangCertificateEndsMs, webhooksDropped, newestBackup } = facts;
  const DAY = 86_400_000;
  if (freeBytes < serverLimits.diskSpareBytes) {
    yield {
      code: 'disk-full',
      severity: 'broken',
      what: `${Math.floor(freeBytes / 1024 ** 2)} MiB are free: nothing can be released once none is, as nothing can be recorded`,
      fix: 'make room where the state folder and the store are',
    };
  }
  if (tangCertificateEndsMs !== null && tangCertificateEndsMs < wallMs + 14 * DAY) {
    yield {
      code: 'certificate-ends',
      severity: tangCertificateEndsMs < wallMs ? 'broken' : 'weakens',
      what: `the certificate for Tang clients ends on ${new Date(tangCertificateEndsMs).toISOString()}`,
      fix: 'renew it, and restart the server',
    };
  }
  if (masterKeyFile !== null) {
    yield {
      code: 'master-key-in-file',
      severity: 'weakens',
      what: `${masterKeyFile} lies beside the store: whoever copies the disk has both`,
      fix: 'give it as a credential: systemd-creds encrypt, LoadCredentialEncrypted=master-key:…, then remove the file',
    };
  }
  if (webhooksDropped > 0) {
    yield {
      code: 'alerts-lost',
      severity: 'weakens',
      what: `${webhooksDropped} alerts were not taken by their webhooks since the start`,
      fix: 'the journal names the webhook, and has every alert',
    };
  }
  const backupMs = newestBackup === null ? null : Date.parse(newestBackup.slice(0, 10));
  if (backupMs === null || backupMs < wallMs - 30 * DAY) {
    yield {
      code: 'no-backup',
      severity: 'note',
      what: newestBackup === null ? 'no backup was ever made here' : `the newest backup is ${newestBackup}`,
      fix: 'luks-key-server backup; then keep a copy elsewhere',
    };
  }
}

async function ofAudit(reader: Reader, keys: readonly KeyObject[]): Promise<ServerFinding[]> {
  const heads = await Array.fromAsync(allHeads(reader));
  // An identity that was replaced has signed older ones: what it signed cannot be judged here.
  const { faults } = await verifyAudit(allLinks(reader), heads, keys);
  const real = faults.filter(({ kind }) => kind !== 'unsigned');
  const [first] = real;
  if (first === undefined) return [];
  return [
    {
      code: 'audit-damaged',
      severity: 'broken',
      what: `the audit log is not what was written: record ${first.seq} ${first.kind}, ${real.length} faults in all`,
      fix: 'luks-key-server audit verify; compare with the heads that machines and webhooks keep',
    },
  ];
}

async function ofMachines(reader: Reader, leaseMs: number): Promise<ServerFinding[]> {
  const waitingFor: string[] = [];
  const unconfirmed: string[] = [];
  for await (const { name, state } of allMachines(reader)) {
    if (waiting(state, leaseMs).some(({ approved }) => !approved)) waitingFor.push(name);
    if (state.unconfirmed && state.status !== 'revoked') unconfirmed.push(name);
  }
  const named = (names: readonly string[]) =>
    `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`;
  const found: ServerFinding[] = [];
  if (waitingFor.length > 0) {
    found.push({
      code: 'approval-pending',
      severity: 'note',
      what: `${named(waitingFor)}: a request waits for an approval`,
      fix: 'luks-key-server list, then approve or deny',
    });
  }
  if (unconfirmed.length > 0) {
    found.push({
      code: 'rejoin-unconfirmed',
      severity: 'note',
      what: `${named(unconfirmed)}: joined with a new key, which nobody has confirmed`,
      fix: 'luks-key-server allow NAME --fingerprint FINGERPRINT, as it is shown on the machine',
    });
  }
  return found;
}
