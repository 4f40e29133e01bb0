import type { Mount } from './facts.ts';
import { type Finding, finding } from './finding.ts';
import type { Chain } from './questions.ts';
import type { HandlerFacts, SocketFacts, UnitFacts, VolumeOrder } from './unit-facts.ts';

const SERVICE = 'fetch-luks-key@.service';
export const INSTALL_AGAIN =
  'install the package fetch-luks-key again, and take your own units out of /etc/systemd/system';

/** Whether the units are there, and start in an order in which the volumes can open. */
export function checkUnits(facts: UnitFacts, mounts: readonly Mount[]): Finding[] {
  return [
    ...facts.sockets.flatMap(checkSocket),
    ...checkHandler(facts.handler, facts.sockets),
    ...facts.cycles.filter(isOurs).map(cycle),
    ...facts.volumes.flatMap((volume) => [...checkVolume(volume, facts), ...checkStarted(volume, mounts)]),
  ];
}

function checkSocket({ unit, file, isStarted }: SocketFacts): Finding[] {
  if (file === null || file.masked) {
    const what = file === null ? 'there is no such unit' : 'it is masked';
    const fix = file === null ? INSTALL_AGAIN : `systemctl unmask ${unit}`;
    return [finding('socket-missing', unit, `${what}, so nobody listens where the key is asked for`, fix)];
  }
  if (isStarted) return [];
  const what = 'it is not enabled, so nobody listens where the key is asked for';
  return [finding('socket-not-enabled', unit, what, `systemctl enable ${unit}`)];
}

function checkHandler(handler: HandlerFacts | null, sockets: readonly SocketFacts[]): Finding[] {
  if (sockets.length === 0) return [];
  if (handler === null || handler.file.masked) {
    const what = 'there is no such unit, or it is masked, so each connection ends without a key';
    return [finding('socket-missing', SERVICE, what, INSTALL_AGAIN)];
  }
  const findings: Finding[] = [];
  if (handler.missingProgram !== null) {
    const what = `it starts ${handler.missingProgram}, which is not there`;
    findings.push(finding('program-missing', SERVICE, what, INSTALL_AGAIN));
  }
  for (const group of handler.missingGroups) {
    const what = `it needs the group ${group}, which does not exist: it fails before it has started`;
    findings.push(finding('group-missing', SERVICE, what, `groupadd --system ${group}`));
  }
  if (handler.otherUser !== null) {
    const what = `${handler.otherUser}: sealed keys and LUKS headers, which are root's, cannot be read`;
    findings.push(finding('handler-not-root', SERVICE, what, `take ${handler.otherUser} out of the service`));
  }
  const folders = handler.file.values('Service', 'RuntimeDirectory').flatMap((names) => names.split(/\s+/));
  if (folders.includes('fetch-luks-key')) {
    const what = 'RuntimeDirectory=fetch-luks-key deletes the sockets when the first connection ends';
    findings.push(finding('socket-deleted', SERVICE, what, 'take RuntimeDirectory= out of the service'));
  }
  return findings;
}

function isOurs(cycle: Chain): boolean {
  return cycle.some((unit) =>
    /^(?:fetch-luks-key@|systemd-cryptsetup@|cryptsetup(?:-pre)?\.target$)/.test(unit),
  );
}

function cycle(units: Chain): Finding {
  const what = `the units wait for each other (${row(units)}): systemd deletes one of them, another one from boot to boot`;
  const about = units.find((unit) => unit.startsWith('fetch-luks-key@')) ?? units[0] ?? '';
  return finding(
    'ordering-cycle',
    about,
    what,
    `DefaultDependencies=no in ${templateOf(about)}, as in the package's own`,
  );
}

function checkVolume(volume: VolumeOrder, { cycles }: UnitFacts): Finding[] {
  const { entry, unit, handlerWaits, networkWaits, socketIsFirst } = volume;
  if (!volume.isGenerated) {
    const what = 'systemd makes no unit of its line in crypttab, so it is never opened';
    return [
      finding(
        'volume-ignored',
        entry.volume,
        what,
        `systemd-cryptsetup-generator(8) logs why: journalctl -b -t systemd-cryptsetup-generator`,
      ),
    ];
  }
  const findings: Finding[] = [];
  // In a cycle, whether the socket comes first varies.
  if (socketIsFirst === false && !cycles.some(isOurs)) {
    const what = `its socket is not ordered before ${unit}: nobody listens yet when the key is asked for`;
    const fix = `DefaultDependencies=no, Wants=cryptsetup-pre.target and Before=cryptsetup-pre.target in the socket`;
    findings.push(finding('socket-too-late', entry.volume, what, fix));
  }
  if (handlerWaits !== null) {
    const what = `a deadlock without a message: who brings the key waits for the volume (${row(handlerWaits)})`;
    const fix = `take out of ${SERVICE} and its drop-ins what makes it wait: docs/DOCTOR.md lists it`;
    findings.push(finding('handler-deadlock', entry.volume, what, fix));
  }
  if (networkWaits !== null) {
    const what = `its key comes over the network, which comes up after it only (${row(networkWaits)})`;
    const fix = 'add _netdev to its options in crypttab, or use systemd-networkd';
    findings.push(finding('network-after-volume', entry.volume, what, fix));
  }
  return findings;
}

function checkStarted(volume: VolumeOrder, mounts: readonly Mount[]): Finding[] {
  const { entry, isGenerated, isStarted } = volume;
  // In a container systemd passes over the devices that fstab mounts.
  const isMounted = mounts.some((one) => one.volume === entry.volume && !one.options.includes('noauto'));
  if (isStarted || isMounted || !isGenerated || entry.options.includes('noauto')) return [];
  const what =
    'it has _netdev, remote-cryptsetup.target is not enabled, and nothing mounts it at boot: it is never opened';
  return [finding('remote-target-off', entry.volume, what, 'systemctl enable remote-cryptsetup.target')];
}

/** `a → b → a`, each waits for the next. */
function row(units: Chain): string {
  return [...units, units[0] ?? ''].join(' → ');
}

function templateOf(unit: string): string {
  return unit.replace(/@.*(?=\.)/, '@');
}
