import type { MachineView } from '../../wire/operator.ts';
import { allMachines } from '../operator.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import type { ServerCommand } from './world.ts';

export const listCommand: ServerCommand = {
  name: 'list',
  summary: 'every machine: state, lease left, last seen, what waits',
  help: `usage: luks-key-server list

One line for each machine, and one for each request that waits for an approval.

${socketHelp}

example:
  luks-key-server list --json | jq -r '.machines[] | select(.status == "locked").name'
`,
  async run(args, world) {
    const { values } = parseCommandLine('list', args, socketOption);
    const machines = await allMachines(world, values.socket);
    if (values.json) world.print(`${JSON.stringify({ machines })}\n`);
    else if (machines.length === 0) world.say('no machine has joined (hint: luks-key-server invite NAME)');
    else world.print(`${machines.map((machine) => machineLine(machine, world.nowMs())).join('\n')}\n`);
    return 0;
  },
};

export const showCommand: ServerCommand = {
  name: 'show',
  summary: 'one machine, with its policy and its fingerprint',
  help: `usage: luks-key-server show NAME

${socketHelp}

example:
  luks-key-server show nas
`,
  async run(args, world) {
    const { values, positionals } = parseCommandLine('show', args, socketOption, ['NAME']);
    const request = { command: 'show', name: positionals[0] ?? '' } as const;
    const { machine } = await ask<'machine'>(world, values.socket, request);
    if (values.json) {
      world.print(`${JSON.stringify(machine)}\n`);
      return 0;
    }
    const { policy } = machine;
    const from = policy['allowed-from'] ?? [];
    const lines = [
      machineLine(machine, world.nowMs()),
      `  fingerprint     ${machine.fingerprint ?? `none: a Tang client, at ${machine.tang}`}`,
      `  keys            ${machine.keys}`,
      `  lease           ${span(policy['lease-ms'] ?? 0)}, boot-grace ${span(policy['boot-grace-ms'] ?? 0)}`,
      `  late-keepalive  ${policy['late-keepalive']}, self-expect ${policy['self-expect']}`,
      `  approval        ${policy.approval}`,
      `  from            ${from.length === 0 ? 'anywhere' : from.join(', ')}`,
      ...machine['deleted-keys'].map(
        (key) => `  deleted key     ${key.kid}  destroyed in ${span(key['left-ms'])}`,
      ),
    ];
    world.print(`${lines.join('\n')}\n`);
    return 0;
  },
};

/** `nas          armed    14m left   seen 12s ago from 192.0.2.1`, and a line for each request that waits. */
export function machineLine(machine: MachineView, nowMs: number): string {
  const { name, status, cause, pending } = machine;
  const state = (cause === null ? status : `${status} (${cause})`).padEnd(18);
  const left = machine['lease-left-ms'];
  const lease = (left === null ? '' : `${span(left)} left`).padEnd(10);
  const at = machine['last-seen-ms'];
  const seen =
    at === null
      ? 'never seen'
      : `seen ${span(Math.max(0, nowMs - at))} ago from ${machine['last-seen-from']}`;
  const waiting = pending
    .filter(({ approved }) => !approved)
    .map(
      (one) => `\n  waits: ${one.id}  from ${one.from}, for ${span(Math.max(0, nowMs - one['since-ms']))}`,
    );
  return `${name.padEnd(20)} ${state} ${lease} ${seen}${waiting.join('')}`;
}

/** The two largest units would be more than the eye needs. */
function span(ms: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const;
  const [unit, size] = units.find(([, size]) => ms >= size) ?? ['s', 1000];
  return `${Math.floor(ms / size)}${unit}`;
}
