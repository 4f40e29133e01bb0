import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { KEEPALIVE_UNIT } from '../base/names.ts';
import type { Files, Runner } from '../base/ports.ts';
import { printable } from '../base/printable.ts';
import type { Policy } from './policy.ts';

const SYSTEMCTL = '/usr/bin/systemctl';

export interface UnitWorld {
  readonly runner: Runner;
  readonly files: Files;
}

/** As sd_booted(3) asks it. */
export async function systemdRuns({ files }: UnitWorld): Promise<boolean> {
  return (await files.mode('/run/systemd/system')) !== null;
}

/** The units that a volume with this policy needs. @param socket path of the socket that crypttab names */
export function unitsFor(policy: Policy, socket: string): string[] {
  const [, instance] = /^\/run\/fetch-luks-key\/([\w.:-]+)\.sock$/.exec(socket) ?? [];
  return [
    ...(instance === undefined ? [] : [`fetch-luks-key@${instance}.socket`]),
    // Debian leaves it off: a _netdev volume that nothing mounts is never started without.
    ...(policy.needsNetwork ? ['remote-cryptsetup.target'] : []),
    ...(policy.needsServer ? [KEEPALIVE_UNIT] : []),
  ];
}

/** Of these, those that are not enabled yet. @throws AppError `unavailable`, `tool-missing`, `stopped` */
export async function notEnabled(
  units: readonly string[],
  { runner }: UnitWorld,
  signal: AbortSignal,
): Promise<string[]> {
  const off: string[] = [];
  for (const unit of units) {
    const { status } = await systemctl(runner, ['is-enabled', '--quiet', unit], signal);
    if (status !== 0) off.push(unit);
  }
  return off;
}

/** @throws AppError `unavailable`, `tool-missing`, `stopped` */
export async function enable(unit: string, { runner }: UnitWorld, signal: AbortSignal): Promise<void> {
  await succeed(runner, ['enable', ...nowUnlessTarget(unit), unit], signal);
}

/** @throws AppError `unavailable`, `tool-missing`, `stopped` */
export async function disable(unit: string, { runner }: UnitWorld, signal: AbortSignal): Promise<void> {
  await succeed(runner, ['disable', ...nowUnlessTarget(unit), unit], signal);
}

/** If it runs. @throws AppError `unavailable`, `tool-missing`, `stopped` */
export async function restart(unit: string, { runner }: UnitWorld, signal: AbortSignal): Promise<void> {
  await succeed(runner, ['try-restart', unit], signal);
}

/** @throws AppError `unavailable`, `tool-missing`, `stopped` */
export async function stop(unit: string, { runner }: UnitWorld, signal: AbortSignal): Promise<void> {
  await succeed(runner, ['stop', unit], signal);
}

/** Lets the generator read crypttab again. @throws AppError `unavailable`, `tool-missing`, `stopped` */
export async function reload({ runner }: UnitWorld, signal: AbortSignal): Promise<void> {
  await succeed(runner, ['daemon-reload'], signal);
}

/** To start remote-cryptsetup.target is to attach volumes, which is for the boot to do. */
function nowUnlessTarget(unit: string): string[] {
  return unit.endsWith('.target') ? [] : ['--now'];
}

async function succeed(runner: Runner, args: readonly string[], signal: AbortSignal): Promise<void> {
  const { status, stderr } = await systemctl(runner, args, signal);
  if (status === 0) return;
  const reason = printable(stderr.trim().split('\n').at(-1) ?? '').replace(/\.$/, '');
  throw new AppError('unavailable', `systemctl ${args.join(' ')}: ${reason || `exit status ${status}`}`);
}

function systemctl(runner: Runner, args: readonly string[], signal: AbortSignal) {
  const timeoutMs = limits.actionTimeoutMs;
  return runner.run(SYSTEMCTL, args, { timeoutMs, maxOutputBytes: limits.childOutputBytes, signal });
}
