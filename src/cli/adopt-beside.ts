import { AppError } from '../base/errors.ts';
import type { Secret } from '../base/secret.ts';
import { type Foreign, foreignText, refuseLast, replacedRecords } from '../enroll/adopt.ts';
import { readKeyFile } from '../enroll/adopt-key-file.ts';
import { finish } from '../enroll/enrol.ts';
import { newKey, planFor } from '../enroll/plan.ts';
import { type Policy, policyOf } from '../enroll/policy.ts';
import { openEnrolled } from '../enroll/prove.ts';
import { begin, type EnrolRecord, enrolledOf } from '../enroll/record.ts';
import { planJson, planLines, type UnitReport } from '../enroll/report.ts';
import { Keyslots, wrongPassphrase } from '../luks/keyslots.ts';
import { fastKeyslots } from '../status/fast-keyslots.ts';
import type { Adoption } from './adopt.ts';
import { make, namesPolicy, policyFrom, unitReport } from './enrolling.ts';
import type { SealingWorld } from './tpm-pin.ts';
import { refuseEmpty, unlock } from './unlock.ts';
import type { World } from './world.ts';

type Beside = Exclude<Foreign, { kind: 'clevis' }>;

/** What is there is opened by systemd alone, or by whoever reads a file: a key of ours is enrolled beside it. */
export async function adoptBeside(foreign: Beside, adoption: Adoption, world: SealingWorld): Promise<number> {
  const { target, records, places, values, startMs } = adoption;
  const { volume, device, entry } = target;
  const keyslots = new Keyslots(device, world);
  const own = records.find(({ store }) => store.kind !== 'clevis');
  if (own !== undefined && entry?.keyFile === values.socket) {
    return await removeLeft(foreign, own, adoption, keyslots, world);
  }
  const policy = await besidePolicy(foreign, adoption, world);
  const wishes = {
    policy,
    places,
    socket: values.socket,
    inFile: false,
    editCrypttab: true,
    replacing: true,
  };
  const plan = await planFor(target, wishes, world.files);
  const units = await unitReport(plan, world);
  const from = foreign.kind === 'key file' ? foreign.path : 'systemd-cryptenroll';
  if (values['dry-run']) {
    const text = [`would adopt ${volume} from ${from}`, ...planLines(plan, units)].join('\n');
    const json = { ...planJson(plan, units), from: foreign.kind, done: false };
    world.print(`${values.json ? JSON.stringify(json) : text}\n`);
    return 0;
  }
  if (values.replace) await refuseUnproven(units, adoption, world);
  for (const note of policy.warnings) world.say(`note: ${note}`);
  using fileKey = await keyOfFile(foreign, adoption, world);
  using passphrase = await passphraseOf(fileKey, adoption, keyslots, world);
  const old = values.replace
    ? await keyslotsOf(foreign, fileKey, target.metadata.activeKeyslots, keyslots, world)
    : [];
  const oldIds = old.map(({ keyslot }) => keyslot);
  if (values.replace) await refuseLastWay(oldIds, adoption, world);
  await refuseEmpty(keyslots, world);
  using key = newKey(world.random);
  const [first = null, ...more] = replacedRecords(target, policy, values.socket, old);
  const made = { key, passphrase, units: units.enabled };
  const enrolled = { all: records, replaced: first, keyIsKept: false };
  const bySocket = await make('adopt', plan, made, enrolled, values.yes ?? false, world);
  await removeAll(more, adoption, keyslots, world);
  const milliseconds = Math.round(world.clock.nowMs() - startMs);
  const done = { done: true, replaced: oldIds.map(Number), 'proven-by': bySocket ? 'socket' : 'sealed key' };
  const json = { ...planJson(plan, units), from: foreign.kind, ...done, milliseconds };
  const text = [
    `adopted ${volume} from ${from} in ${(milliseconds / 1000).toFixed(1)} s`,
    ...planLines(plan, units),
    ...(oldIds.length === 0 ? [] : [`  removed     keyslot ${oldIds.join(', ')}`]),
    `proven: opens by ${bySocket ? values.socket : `its sealed key; nobody listens at ${values.socket} yet`}`,
    `at the next boot ${volume} opens by the socket; ${stillOpens(foreign, adoption)}`,
  ].join('\n');
  world.print(`${values.json ? JSON.stringify(json) : text}\n`);
  return 0;
}

/** What opens it now is not removed for something that only a boot would prove. @throws AppError `refused` */
async function refuseUnproven(units: UnitReport, { values }: Adoption, { files }: World): Promise<void> {
  const isStarted = units.systemd && units.needed.some((unit) => unit.endsWith('.socket'));
  if (isStarted || (await files.mode(values.socket)) !== null) return;
  throw new AppError('refused', `--replace: nobody listens at ${values.socket} to prove the new way`, {
    hint: 'start its unit first, or leave --replace out',
  });
}

/** @param old keyslots that are to go @throws AppError `refused` */
async function refuseLastWay(
  old: readonly string[],
  { target, records }: Adoption,
  { runner, signal }: World,
): Promise<void> {
  const fast = await fastKeyslots(target.device, target.metadata.activeKeyslots, runner, signal);
  refuseLast(target, old, records, fast);
}

/** As it was, one's own pin: systemd's token is opened by the TPM too. */
async function besidePolicy({ kind }: Beside, { target, values }: Adoption, world: World): Promise<Policy> {
  if (kind === 'key file' || namesPolicy(values)) return await policyFrom('adopt', target, values, world);
  return policyOf({ tpm2: { config: {}, withPin: false }, remotes: [], tangs: [], require: null });
}

/** @returns null where nobody asks for it */
async function keyOfFile(
  foreign: Beside,
  { target, values }: Adoption,
  world: World,
): Promise<Secret | null> {
  const isAsked = values.replace || values['unlock-key-file'] === undefined;
  if (foreign.kind !== 'key file' || !isAsked) return null;
  return await readKeyFile(foreign.path, target, world.files);
}

async function passphraseOf(
  fileKey: Secret | null,
  { target, places, values }: Adoption,
  keyslots: Keyslots,
  world: World,
): Promise<Secret> {
  const file = values['unlock-key-file'];
  if (fileKey === null || file !== undefined) {
    return await unlock(target.volume, places, keyslots, file, world);
  }
  if (await keyslots.opens(fileKey, world.signal)) return fileKey;
  throw wrongPassphrase(`${target.device}: ${target.entry?.keyFile}`);
}

/** The keyslots that `--replace` removes. @throws AppError `refused` when the file opens none */
async function keyslotsOf(
  foreign: Beside,
  fileKey: Secret | null,
  active: readonly string[],
  keyslots: Keyslots,
  world: World,
): Promise<{ id: string | null; keyslot: string }[]> {
  if (foreign.kind === 'systemd-tpm2') return [...foreign.tokens];
  const old: { id: string | null; keyslot: string }[] = [];
  for (const keyslot of active) {
    if (fileKey !== null && (await keyslots.opens(fileKey, world.signal, keyslot)))
      old.push({ id: null, keyslot });
  }
  if (old.length > 0) return old;
  throw new AppError(
    'refused',
    `${foreign.path}: opens no keyslot of ${keyslots.path}, so --replace removes none`,
  );
}

/** Ours opens it by the socket already, and systemd's token has stayed. */
async function removeLeft(
  foreign: Beside,
  own: EnrolRecord,
  adoption: Adoption,
  keyslots: Keyslots,
  world: World,
): Promise<number> {
  const { target, places, values } = adoption;
  const old = foreign.kind === 'systemd-tpm2' ? foreign.tokens : [];
  const ids = old.map(({ keyslot }) => keyslot);
  const isWanted = values.replace && !values['dry-run'];
  if (isWanted) {
    await refuseLastWay(ids, adoption, world);
    using key = await openEnrolled(own, places, world, world.signal);
    if (!(await keyslots.opens(key, world.signal, own.keyslot))) throw wrongPassphrase(target.device);
    await removeAll(replacedRecords(target, own.policy, values.socket, old), adoption, keyslots, world);
  }
  const { volume } = target;
  const json = { volume, from: foreign.kind, done: isWanted, replaced: isWanted ? ids.map(Number) : [] };
  const text = isWanted
    ? `${volume}: was adopted; removed now: keyslot ${ids.join(', ')} and its token`
    : `${volume}: was adopted; ${stillOpens(foreign, adoption)}`;
  world.print(`${values.json ? JSON.stringify(json) : text}\n`);
  return 0;
}

async function removeAll(
  old: readonly EnrolRecord[],
  { target, places }: Adoption,
  keyslots: Keyslots,
  world: World,
): Promise<void> {
  for (const undo of old) {
    const unfinished = { undo, enrolled: await enrolledOf(places.etc, target.volume, world.files) };
    begin(places.etc, unfinished, world.durable);
    await finish(unfinished, places, keyslots, world);
  }
}

/** The end of the last line. */
function stillOpens(foreign: Beside, { target, values }: Adoption): string {
  if (foreign.kind === 'systemd-tpm2') {
    if (values.replace) return 'systemd-cryptenroll has no part in it any more';
    return `${foreignText(foreign)} opens it still: fetch-luks-key adopt ${target.volume} --replace removes it`;
  }
  return values.replace
    ? `${foreign.path} opens it no more, and is still there: remove it yourself, but to shred a file on flash proves nothing`
    : `${foreign.path} opens it still: cryptsetup luksRemoveKey takes its key out`;
}
