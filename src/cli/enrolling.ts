import { AppError } from '../base/errors.ts';
import type { VolumeName } from '../base/names.ts';
import type { Secret } from '../base/secret.ts';
import { loadConfig } from '../config/load.ts';
import { countersToMake, removeCounters } from '../enroll/counters.ts';
import { type Enrolled, enrol, finish } from '../enroll/enrol.ts';
import type { Plan } from '../enroll/plan.ts';
import {
  asOptions,
  needsServers,
  type PinChoice,
  type Policy,
  policyOf,
  proposal,
} from '../enroll/policy.ts';
import { unfinishedOf } from '../enroll/record.ts';
import type { UnitReport } from '../enroll/report.ts';
import { sitePolicy } from '../enroll/site-policy.ts';
import type { Target } from '../enroll/target.ts';
import { notEnabled, systemdRuns, unitsFor } from '../enroll/units.ts';
import type { Places } from '../handler/locate.ts';
import { Keyslots } from '../luks/keyslots.ts';
import { absolute } from './command.ts';
import { sealAs } from './sealing.ts';
import { pinFileOption, type SealingWorld } from './tpm-pin.ts';
import type { World } from './world.ts';

/** What the commands that change a volume's keys have in common. */

export const pinOptions = {
  tpm2: { type: 'boolean' },
  'tpm2-pcrs': { type: 'string' },
  'tpm2-public-key': { type: 'string' },
  'tpm2-public-key-pcrs': { type: 'string' },
  'tpm2-rollback-counter': { type: 'string' },
  'tpm2-pin': { type: 'boolean' },
  ...pinFileOption,
  remote: { type: 'string', multiple: true },
  tang: { type: 'string', multiple: true },
  require: { type: 'string' },
  site: { type: 'boolean' },
} as const;

/** For `--help`. */
export const pinHelp = `  --tpm2            this machine's TPM; each of the next options implies it
  --tpm2-pcrs LIST  to the values that these PCRs have now, as 0,7; default 7;
                    '' for none
  --tpm2-public-key FILE
                    or to values signed by this key (systemd-measure, ukify)
  --tpm2-public-key-pcrs LIST
                    of these PCRs; default 11
  --tpm2-rollback-counter INDEX
                    with a counter at this NV index, by which retire makes the
                    TPM refuse it later
  --tpm2-pin        and a PIN, which is asked for at each boot
  --tpm2-pin-file FILE
                    the PIN, without the newline at its end; - for standard
                    input. Default: you are asked
  --remote NAME     a key server that this machine has joined
  --tang URL        a Tang server
  --require K       how many of these are needed; default: all of them
  --site            the other hosts of this machine's site, and nothing else`;

interface PinValues {
  readonly tpm2?: boolean | undefined;
  readonly 'tpm2-pcrs'?: string | undefined;
  readonly 'tpm2-public-key'?: string | undefined;
  readonly 'tpm2-public-key-pcrs'?: string | undefined;
  readonly 'tpm2-rollback-counter'?: string | undefined;
  readonly 'tpm2-pin'?: boolean | undefined;
  readonly 'tpm2-pin-file'?: string | undefined;
  readonly remote?: string[] | undefined;
  readonly tang?: string[] | undefined;
  readonly require?: string | undefined;
  readonly site?: boolean | undefined;
}

/** Whether the command line names a way to seal. @throws AppError `usage` */
export function namesPolicy(values: PinValues): boolean {
  return values.site === true || choiceFrom(values) !== null;
}

/** @returns null when no way was named @throws AppError `usage`, `bad-config` */
export async function namedPolicy(values: PinValues, etc: string, world: World): Promise<Policy | null> {
  const choice = choiceFrom(values);
  if (!values.site) return choice === null ? null : policyOf(choice);
  if (choice === null) return sitePolicy(await loadConfig(world.files, etc));
  throw new AppError('usage', '--site: not with other pins', {
    hint: 'allow-local-unseal: true in config.yaml adds the TPM',
  });
}

/** The policy as it is to be now: that of a site follows its hosts. @throws AppError `bad-config` */
export async function policyNow(policy: Policy, etc: string, world: World): Promise<Policy> {
  return policy.bySite ? sitePolicy(await loadConfig(world.files, etc)) : policy;
}

/** @returns null when no pin was chosen @throws AppError `usage` */
function choiceFrom(values: PinValues): PinChoice | null {
  const { remote: remotes = [], tang: tangs = [] } = values;
  const tpm2 = tpmFrom(values);
  if (tpm2 === null && remotes.length === 0 && tangs.length === 0) {
    if (values.require === undefined) return null;
    throw new AppError('usage', '--require: of nothing', { hint: 'name pins with --tpm2, --remote, --tang' });
  }
  return { tpm2, remotes, tangs, require: values.require === undefined ? null : Number(values.require) };
}

function tpmFrom(values: PinValues): PinChoice['tpm2'] {
  const given: Record<string, string | null | undefined> = {
    pcr_ids: values['tpm2-pcrs'],
    public_key: absolute(values['tpm2-public-key']),
    public_key_pcrs: values['tpm2-public-key-pcrs'],
    rollback_counter: values['tpm2-rollback-counter'],
  };
  const config = Object.fromEntries(Object.entries(given).filter(([, value]) => value != null));
  const withPin = (values['tpm2-pin'] ?? false) || values['tpm2-pin-file'] !== undefined;
  return values.tpm2 || withPin || Object.keys(config).length > 0 ? { config, withPin } : null;
}

interface PolicyValues extends PinValues {
  readonly etc: string;
  readonly yes?: boolean | undefined;
  readonly 'dry-run'?: boolean | undefined;
}

/** How to seal: as it was chosen; else what there is here is proposed. @throws AppError `usage`, `refused` */
export async function policyFrom(
  command: string,
  target: Target,
  values: PolicyValues,
  world: World,
): Promise<Policy> {
  const named = await namedPolicy(values, values.etc, world);
  if (named !== null) return named;
  const choice = await proposed(command, values.etc, world);
  const policy = policyOf(choice);
  const told = [`proposed: ${policy.title}, which is ${asOptions(choice)}`, ...policy.warnings];
  // Nothing that a server can lose is taken for granted: by name it can be had without, too.
  const isRisky = needsServers(choice) && !hasRecoveryKey(target);
  if (isRisky) told.push(`${target.volume} has no recovery key: ${recoveryHint(target)} makes one`);
  if (values.yes && isRisky && !values['dry-run']) {
    throw new AppError(
      'refused',
      `${command}: ${policy.title} is proposed, and ${target.volume} has no recovery key`,
      { hint: `first ${recoveryHint(target)}, or name the pins: ${asOptions(choice)}` },
    );
  }
  if (values['dry-run'] || values.yes) for (const line of told) world.say(line);
  else {
    const question = isRisky ? 'Enroll so, without a recovery key?' : 'Enroll so?';
    await world.confirm(told, question, 'name the pins, or take the proposal with -y');
  }
  return policy;
}

function hasRecoveryKey({ metadata: { tokens, activeKeyslots } }: Target): boolean {
  return tokens.some(
    ({ type, keyslots }) => type === 'systemd-recovery' && keyslots.some((id) => activeKeyslots.includes(id)),
  );
}

function recoveryHint({ volume, device, entry }: Target): string {
  return `fetch-luks-key recovery-key ${volume}${entry === null ? ` --device ${device}` : ''}`;
}

async function proposed(command: string, etc: string, world: World): Promise<PinChoice> {
  const { servers } = await loadConfig(world.files, etc);
  const choice = proposal(await world.tpm.isThere(world.signal), [...servers.keys()]);
  if (choice !== null) return choice;
  throw new AppError(
    'usage',
    `${command}: nothing to propose: there is no TPM, and no key server was joined`,
    {
      hint: 'name a Tang server with --tang URL, or join a key server with fetch-luks-key join',
    },
  );
}

/**
 * A command that was killed may have left something, which is in the way of the next one.
 * @returns whether there was something
 */
export async function heal(volume: VolumeName, places: Places, world: World): Promise<boolean> {
  const left = await unfinishedOf(places.etc, volume, world.files);
  if (left === null) return false;
  await finish(left, places, new Keyslots(left.undo.device, world), world);
  world.say(`removed: what a command that did not end had left of ${volume}`);
  return true;
}

/** @throws AppError `unavailable`, `tool-missing`, `stopped` */
export async function unitReport({ policy, socket }: Plan, world: World): Promise<UnitReport> {
  const needed = unitsFor(policy, socket);
  const systemd = await systemdRuns(world);
  return { systemd, needed, enabled: systemd ? await notEnabled(needed, world, world.signal) : [] };
}

/**
 * Seals the key, and does what is planned.
 * @returns whether the real socket has proven it too
 */
export async function make(
  command: string,
  plan: Plan,
  made: { readonly key: Secret; readonly passphrase: Secret; readonly units: readonly string[] },
  enrolled: Enrolled,
  trusting: boolean,
  world: SealingWorld,
): Promise<boolean> {
  const { policy, places, target } = plan;
  const sealing = { pin: policy.pin, config: policy.config, etc: places.etc, trusting };
  const counters = await countersToMake(policy, world, world.signal);
  const sealedKey = await sealAs(command, sealing, made.key, world).catch(async (thrown) => {
    await removeCounters(counters, world, new AbortController().signal);
    throw thrown;
  });
  const keyslots = new Keyslots(target.device, world);
  return await enrol(plan, { ...made, sealedKey, counters }, enrolled, keyslots, world, world.signal);
}
