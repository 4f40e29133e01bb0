import { AppError, asAppError, failureLine } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { loadConfig } from '../config/load.ts';
import { parseDuration } from '../config/quantity.ts';
import { readFileHeader } from '../journal/file-header.ts';
import { keyIdOf, makeKeys, rotate } from '../journal/keys.ts';
import { type JournalPlaces, journalPlaces, sealedKeyPath } from '../journal/place.ts';
import { recordJson, type SealingRecord, timeText, writeRecord } from '../journal/record.ts';
import { ask, connectTo } from '../remote/key-server.ts';
import * as wire from '../wire/machine.ts';
import { parsePinConfig } from './pin-config.ts';
import { sealAs } from './sealing.ts';
import type { SealingWorld } from './tpm-pin.ts';
import type { World } from './world.ts';

/**
 * journalctl's own. What is younger can be changed; but what journald moves from /run at boot it does not seal interval by
 * interval, and journalctl finds fault with it where a new one begins in between: the shorter, the more often.
 */
const DEFAULT_INTERVAL = '15m';

interface Request {
  readonly pin: string;
  /** JSON. */
  readonly config: string;
  readonly etc: string;
  readonly trusting: boolean;
}

/** `journal setup`. @returns the exit status */
export async function setUpJournal(
  { pin, config, etc, trusting }: Request,
  interval: string | undefined,
  json: boolean,
  world: SealingWorld,
): Promise<number> {
  const intervalMs = parseDuration(interval ?? DEFAULT_INTERVAL);
  if (intervalMs === null || intervalMs < 1000) {
    throw new AppError('usage', `journal: --interval: expected 1s or more, got ${interval}`);
  }
  const sealing = { pin, config: parsePinConfig('journal', config), etc, trusting };
  const places = await journalPlaces(world.files);
  await refuseOldKeys(places, etc, world);
  const record = await make(sealing, intervalMs, places, world);
  await tellServers(etc, record, world);
  const path = sealedKeyPath(etc);
  if (json) world.print(`${JSON.stringify({ ...recordJson(record), path, pin })}\n`);
  else world.print(`${record.keyId}\n`);
  world.say(`journald seals since ${timeText(record.sinceMs)}; the verification key is sealed in ${path}`);
  world.say('note its id elsewhere: an intruder can replace the keys, and then the id is another');
  return 0;
}

/** They are the only ones for what was sealed before. */
async function refuseOldKeys(places: JournalPlaces, etc: string, world: World): Promise<void> {
  if ((await world.files.mode(places.active)) === null) {
    throw new AppError('bad-config', `${places.active}: no such file: the journal is not persistent`, {
      hint: 'mkdir -p /var/log/journal && systemctl restart systemd-journald && journalctl --flush',
    });
  }
  for (const path of [places.sealingKey, sealedKeyPath(etc)]) {
    if ((await world.files.mode(path)) === null) continue;
    throw new AppError('refused', `${path}: is there already`, {
      hint: 'to begin anew, move it away, and the journal that it belongs to',
    });
  }
}

/** Both keys and the record, and a journal that is sealed by them; when anything fails, none of these. */
async function make(
  sealing: Parameters<typeof sealAs>[1],
  intervalMs: number,
  places: JournalPlaces,
  world: SealingWorld,
): Promise<SealingRecord> {
  const { etc } = sealing;
  const path = sealedKeyPath(etc);
  using key = await makeKeys(intervalMs, world.runner, world.signal);
  try {
    const sealedKey = await sealAs('journal', sealing, key, world);
    world.durable.makeFolder(path.slice(0, path.lastIndexOf('/')));
    world.durable.replace(path, Buffer.from(sealedKey));
    await rotate(world.runner, world.signal);
    if ((await readFileHeader(places.active, world.files))?.isSealed !== true) {
      throw new AppError('bad-config', `${places.active}: journald has the key, and does not seal`, {
        hint: 'is there Seal=no in journald.conf, or no libgcrypt20? then systemctl restart systemd-journald',
      });
    }
    const record = { keyId: keyIdOf(key), sinceMs: world.nowUnixMs(), verified: null };
    writeRecord(etc, record, world.durable);
    return record;
  } catch (thrown) {
    // The sealing key first: without the other one, what it seals could never be verified.
    world.durable.remove(places.sealingKey);
    world.durable.remove(path);
    throw thrown;
  }
}

/** A server's audit log is out of an intruder's reach, and its alert reaches people when keys are replaced. */
async function tellServers(etc: string, { keyId, sinceMs }: SealingRecord, world: World): Promise<void> {
  const { servers } = await loadConfig(world.files, etc);
  const text = `verification key ${keyId} since ${timeText(sinceMs)}`;
  for (const [name, { url, keys, identity }] of servers) {
    try {
      const signal = AbortSignal.any([world.signal, AbortSignal.timeout(limits.serverStatusMs)]);
      const own = await world.serverWorld.identity(identity, signal);
      const connection = await connectTo({ url, keys }, own, world.serverWorld.connector, signal);
      try {
        const body = { kind: 'journal-sealed', text };
        await ask(connection, 'POST', '/v1/alerts', body, wire.alert.response, signal);
      } finally {
        connection.close();
      }
      world.say(`${name}: has the key's id in its audit log`);
    } catch (thrown) {
      world.say(`${name}: does not know the key's id: ${failureLine(asAppError(thrown))}`);
    }
  }
}
