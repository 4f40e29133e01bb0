import { volumeName } from '../base/names.ts';
import { newKey, type Plan, planFor, type Wishes } from '../enroll/plan.ts';
import { enrolledOf } from '../enroll/record.ts';
import { lastLine, planJson, planLines } from '../enroll/report.ts';
import { findTarget, type Target } from '../enroll/target.ts';
import { Keyslots } from '../luks/keyslots.ts';
import { absolute, type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { heal, make, pinHelp, pinOptions, policyFrom, unitReport } from './enrolling.ts';
import { onlyOne } from './only-one.ts';
import { DEFAULT_SOCKET } from './request.ts';
import { knowingPins, pinFile } from './tpm-pin.ts';
import { refuseEmpty, unlock } from './unlock.ts';
import type { World } from './world.ts';

const options = {
  ...placeOptions,
  ...pinOptions,
  device: { type: 'string' },
  'unlock-key-file': { type: 'string' },
  file: { type: 'boolean' },
  'no-crypttab': { type: 'boolean' },
  socket: { type: 'string', default: DEFAULT_SOCKET },
  yes: { type: 'boolean', short: 'y' },
  'dry-run': { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseCommandLine<typeof options>>['values'];

export const enrollCommand: Command = {
  name: 'enroll',
  summary: 'make a volume open by itself, and prove that it does',
  help: `usage: fetch-luks-key enroll VOLUME [--tpm2] [--remote NAME]... [--tang URL]...
                             [--require K] [OPTIONS]

Adds a keyslot with a new random key to a LUKS2 volume, seals that key, stores
it as a Clevis token in the volume's header, names the socket in crypttab, and
proves that the volume opens. What opens it now goes on doing so. If anything
fails, all is undone; after a power cut the next enroll undoes what was left.

${pinHelp}
                    Without any, what there is here is proposed.

  --device PATH     the volume's device or image, if crypttab has no line for it
  --unlock-key-file FILE
                    what opens the volume now, - for standard input; all of it
                    counts, a newline too. Default: you are asked
  --file            keep the sealed key in /etc/fetch-luks-key/volumes, not in
                    the header
  --no-crypttab     show the line, and leave crypttab as it is
  --socket PATH     default ${DEFAULT_SOCKET}
  -y, --yes         take the proposal, and a Tang server's keys, without being
                    asked; no proposal that needs a server for a volume that
                    has no recovery key
  --dry-run         print what would be done, and do nothing
  --json            print {"volume", "device", "keyslot", ...}
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example:
  fetch-luks-key enroll data --tpm2 --remote home
`,

  async run(args, base) {
    const { values, positionals } = parseCommandLine('enroll', args, options, ['VOLUME']);
    const world = knowingPins(base, { toSeal: pinFile(values['tpm2-pin-file']) });
    const volume = volumeName(positionals[0] ?? '');
    const places = placesFrom(values);
    const startMs = world.clock.nowMs();
    using _lock = values['dry-run'] ? null : await onlyOne('enroll', places.crypttab, world);
    if (!values['dry-run']) await heal(volume, places, world);
    const target = await findTarget(volume, places.crypttab, absolute(values.device), world.files);
    const plan = await planFor(target, await wishesFrom(target, values, world), world.files);
    const units = await unitReport(plan, world);
    if (values['dry-run']) {
      const lines = [`would enroll ${volume}`, ...planLines(plan, units)];
      show(values, { ...planJson(plan, units), done: false }, lines, world);
      return 0;
    }
    for (const note of [...plan.policy.warnings, ...othersNote(target)]) world.say(`note: ${note}`);
    const keyslots = new Keyslots(target.device, world);
    using passphrase = await unlock(volume, places, keyslots, values['unlock-key-file'], world);
    await refuseEmpty(keyslots, world);
    using key = newKey(world.random);
    const all = await enrolledOf(places.etc, volume, world.files);
    const bySocket = await make(
      'enroll',
      plan,
      { key, passphrase, units: units.enabled },
      { all, replaced: null, keyIsKept: false },
      values.yes ?? false,
      world,
    );
    const milliseconds = Math.round(world.clock.nowMs() - startMs);
    const proof = bySocket ? values.socket : `its sealed key${withoutSocket(plan, values)}`;
    const lines = [
      `enrolled ${volume} in ${(milliseconds / 1000).toFixed(1)} s`,
      ...planLines(plan, units),
      `proven: opens by ${proof}`,
      lastLine(plan),
    ];
    const provenBy = bySocket ? 'socket' : 'sealed key';
    show(values, { ...planJson(plan, units), done: true, 'proven-by': provenBy, milliseconds }, lines, world);
    return 0;
  },
};

/** Why the socket has not proven it. */
function withoutSocket({ policy }: Plan, { socket }: Values): string {
  return policy.asksForPin ? ' and your PIN' : `; nobody listens at ${socket} yet`;
}

async function wishesFrom(target: Target, values: Values, world: World): Promise<Wishes> {
  return {
    policy: await policyFrom('enroll', target, values, world),
    places: placesFrom(values),
    socket: values.socket,
    inFile: values.file ?? false,
    editCrypttab: !values['no-crypttab'],
  };
}

/** The volume is as safe as the weakest of what opens it. */
function othersNote({ metadata }: Target): string[] {
  const others = metadata.tokens.filter(({ type }) => type === 'clevis').map(({ id }) => id);
  return others.length === 0
    ? []
    : [`whoever can open another sealed key of it has the volume too: token ${others.join(', ')}`];
}

function show(values: Values, json: object, lines: readonly string[], world: World): void {
  world.print(values.json ? `${JSON.stringify(json)}\n` : `${lines.join('\n')}\n`);
}
