import { AppError, asAppError, failureLine } from '../base/errors.ts';
import type { Secret } from '../base/secret.ts';
import type { Binding } from '../enroll/adopt.ts';
import { enrol } from '../enroll/enrol.ts';
import { type Plan, planFor } from '../enroll/plan.ts';
import { openSealed } from '../enroll/prove.ts';
import { enrolledOf } from '../enroll/record.ts';
import { planJson, planLines } from '../enroll/report.ts';
import { findTarget } from '../enroll/target.ts';
import { Keyslots } from '../luks/keyslots.ts';
import { parseSealedKey } from '../pins/table.ts';
import { policyOf, policyText } from '../status/policy.ts';
import type { Adoption } from './adopt.ts';
import { namesPolicy, unitReport } from './enrolling.ts';
import { refuseEmpty } from './unlock.ts';
import type { World } from './world.ts';

const ASKPASS = 'clevis-luks-askpass.path';

/** Keyslots and tokens stay as they are: crypttab names the socket, which takes no keys but these. */
export async function adoptClevis(
  bindings: readonly Binding[],
  adoption: Adoption,
  world: World,
): Promise<number> {
  const { target, values } = adoption;
  if (namesPolicy(values) || values.replace) {
    throw new AppError(
      'usage',
      'adopt: what Clevis has bound stays as it is, so it takes no pins and no --replace',
      {
        hint: `a key of ours beside it: fetch-luks-key enroll ${target.volume}`,
      },
    );
  }
  if (values['dry-run']) {
    for (const binding of bindings) await showPlan(binding, adoption, world);
    return 0;
  }
  const keyslots = new Keyslots(target.device, world);
  await refuseEmpty(keyslots, world);
  const opened = await openAll(bindings, keyslots, adoption, world);
  try {
    for (const [binding, key] of opened) await adoptOne(binding, key, bindings, adoption, world);
  } finally {
    for (const key of opened.values()) key.wipe();
  }
  if (!values.json) world.print(`${await lastLine(adoption, world)}\n`);
  return 0;
}

/** Those that open now. @throws AppError what keeps the first from opening, when none does */
async function openAll(
  bindings: readonly Binding[],
  keyslots: Keyslots,
  { target, records, places }: Adoption,
  world: World,
): Promise<Map<Binding, Secret>> {
  const opened = new Map<Binding, Secret>();
  const failures: AppError[] = [];
  for (const binding of bindings) {
    const { id, keyslot, sealedKey } = binding;
    try {
      const key = await openSealed(
        { record: { sealedKey, volume: target.volume }, places, world },
        world.signal,
      );
      opened.set(binding, key);
      if (await keyslots.opens(key, world.signal, keyslot)) continue;
      opened.delete(binding);
      key.wipe();
      throw new AppError('damaged', `its key does not open keyslot ${keyslot}`);
    } catch (thrown) {
      const error = asAppError(thrown).at(`${target.device} token ${id}`);
      if (error.code === 'stopped' || error.code === 'bug') throw error;
      failures.push(error);
      const isKnown = records.some((one) => one.sealedKey === sealedKey);
      const then = isKnown ? '' : ', and the socket refuses its key until adopt has seen it open';
      if (bindings.length > 1) world.say(`note: token ${id} does not open now${then}: ${failureLine(error)}`);
    }
  }
  if (opened.size === 0 && failures[0] !== undefined) throw failures[0];
  return opened;
}

async function planOf(binding: Binding, { target, places, values }: Adoption, world: World): Promise<Plan> {
  const { sealedKey } = binding;
  const { uses } = parseSealedKey(sealedKey);
  const asks = (pin: string) => uses.some((use) => use.pin === pin);
  const policy = {
    pin: 'clevis',
    config: {},
    title: policyText(policyOf(sealedKey), () => null),
    asksForPin: false,
    needsNetwork: asks('tang') || asks('remote'),
    needsServer: asks('remote'),
    warnings: [],
  };
  // As the one before it has left crypttab.
  const now = await findTarget(target.volume, places.crypttab, null, world.files);
  const { socket } = values;
  const wishes = { policy, places, socket, inFile: false, editCrypttab: true, replacing: true };
  return await planFor(now, { ...wishes, adopted: binding }, world.files);
}

async function showPlan(binding: Binding, adoption: Adoption, world: World): Promise<void> {
  const { volume } = adoption.target;
  const plan = await planOf(binding, adoption, world);
  const units = await unitReport(plan, world);
  const text = [`would adopt ${volume} from Clevis`, ...planLines(plan, units)].join('\n');
  const json = { ...planJson(plan, units), from: 'clevis', done: false };
  world.print(`${adoption.values.json ? JSON.stringify(json) : text}\n`);
}

async function adoptOne(
  binding: Binding,
  key: Secret,
  bindings: readonly Binding[],
  adoption: Adoption,
  world: World,
): Promise<void> {
  const { target, places, values, startMs } = adoption;
  const { volume, device } = target;
  const plan = await planOf(binding, adoption, world);
  const units = await unitReport(plan, world);
  const all = await enrolledOf(places.etc, volume, world.files);
  const same = all.find(({ sealedKey }) => sealedKey === binding.sealedKey) ?? null;
  // Clevis has made it anew since.
  const gone = all.find(
    ({ store, sealedKey }) => store.kind === 'clevis' && !bindings.some((one) => one.sealedKey === sealedKey),
  );
  const bySocket = await enrol(
    plan,
    { key, sealedKey: binding.sealedKey, passphrase: key, units: units.enabled },
    { all, replaced: same ?? gone ?? null, keyIsKept: same !== null },
    new Keyslots(device, world),
    world,
    world.signal,
  );
  const milliseconds = Math.round(world.clock.nowMs() - startMs);
  const provenBy = bySocket ? 'socket' : 'sealed key';
  const json = { ...planJson(plan, units), from: 'clevis', done: true, 'proven-by': provenBy, milliseconds };
  const text = [
    `adopted ${volume} from Clevis in ${(milliseconds / 1000).toFixed(1)} s`,
    ...planLines(plan, units),
    `proven: opens by ${bySocket ? values.socket : `its token; nobody listens at ${values.socket} yet`}`,
  ].join('\n');
  world.print(`${values.json ? JSON.stringify(json) : text}\n`);
}

/** Clevis answers password prompts on its own: then a refusal of ours keeps nothing closed. */
async function lastLine({ target }: Adoption, { files }: World): Promise<string> {
  const next = `at the next boot ${target.volume} opens by the socket; after clevis luks regen or edit run adopt again`;
  const isInstalled = (await files.mode(`/usr/lib/systemd/system/${ASKPASS}`)) !== null;
  if (!isInstalled) return next;
  return `${next}; where the socket refuses, ${ASKPASS} still opens it: systemctl disable --now ${ASKPASS} unless another volume needs it`;
}
