import type { FindingCode } from '../../src/doctor/finding.ts';
import { mountOnVolume } from './mounts.ts';
import { NETWORK_UNIT, networkFiles } from './network.ts';
import { jwePath, type SealedOptions } from './sealed.ts';
import {
  DEFAULT_DEPENDENCIES,
  NOT_BEFORE_CRYPTSETUP,
  SERVICE_FILE,
  SOCKET_FILE,
  serviceWith,
  serviceWithDependency,
  WANTED_BY_SOCKETS,
  wrongUnit,
} from './wrong-units.ts';

/**
 * Each way to break a boot that a scenario boots: how the guest differs from a right one. doctor.test.ts has the same
 * done to a machine that runs.
 */
export interface Break extends SealedOptions {
  /** What the doctor has to name before the reboot. */
  readonly finds: readonly FindingCode[];
  /** And where systemd is older than 257. */
  readonly findsBefore257?: readonly FindingCode[];
}

const SOCKET_LATE = wrongUnit(SOCKET_FILE, [
  ...DEFAULT_DEPENDENCIES,
  ...NOT_BEFORE_CRYPTSETUP,
  ...WANTED_BY_SOCKETS,
]);
const WAITS_FOR_NETWORK: [string, string] = [
  'DefaultDependencies=no\n',
  'DefaultDependencies=no\nWants=network-online.target\nAfter=network-online.target\n',
];
/** As long as systemd's client can name itself after a volume (unix(7): 107 bytes), and one byte longer. */
export const NAMES = { longest: 'n'.repeat(78), longer: 'n'.repeat(79) };

const config = (text: string) => ({ '/etc/fetch-luks-key/config.yaml': { content: text } });
const GIVES_UP_SOON = config('volumes:\n  data: { give-up-after: 6s }\n');

/** @param wrong makes the service of the line */
function onVolume(line: string, path: string, wrong: typeof serviceWith) {
  const { unit, files } = mountOnVolume(path);
  const finds: readonly FindingCode[] = ['handler-deadlock'];
  return { line, path, unit, files: { ...wrong(line), ...files }, enable: [unit], finds };
}

/** What the service must not have when a path lies on the volume. */
export const onVolumes = {
  privateTmp: onVolume('PrivateTmp=yes', '/tmp', serviceWith),
  stateDirectory: onVolume('StateDirectory=fetch-luks-key', '/var', serviceWith),
  workingDirectory: onVolume('WorkingDirectory=/srv', '/srv', serviceWith),
  requiresMountsFor: onVolume('RequiresMountsFor=/srv', '/srv', serviceWithDependency),
};

export const breaks = {
  socketInCycle: {
    files: wrongUnit(SOCKET_FILE, [...DEFAULT_DEPENDENCIES, ...WANTED_BY_SOCKETS]),
    options: 'luks',
    finds: ['ordering-cycle'],
  },
  socketLate: { files: SOCKET_LATE, options: 'luks', finds: ['socket-too-late'] },
  socketLateHeadless: { files: SOCKET_LATE, finds: ['socket-too-late'] },
  socketLateNetdev: {
    files: SOCKET_LATE,
    options: 'luks,_netdev,headless=1',
    enable: ['remote-cryptsetup.target'],
    finds: ['socket-too-late'],
  },
  serviceLate: { files: wrongUnit(SERVICE_FILE, DEFAULT_DEPENDENCIES), finds: ['handler-deadlock'] },
  networkOnline: {
    files: { ...networkFiles, ...wrongUnit(SERVICE_FILE, [WAITS_FOR_NETWORK]) },
    enable: [NETWORK_UNIT],
    finds: ['handler-deadlock', 'network-after-volume'],
  },
  ...onVolumes,
  dynamicUser: {
    ...onVolume('DynamicUser=yes', '/tmp', serviceWith),
    finds: ['handler-not-root'],
    findsBefore257: ['handler-deadlock'],
  },
  runtimeDirectory: {
    files: serviceWith('RuntimeDirectory=fetch-luks-key'),
    finds: ['socket-deleted'],
  },
  keyfileOffset: { options: 'luks,headless=1,keyfile-offset=1', finds: ['option-conflict'] },
  nameTooLong: { names: [NAMES.longest, NAMES.longer], finds: ['name-too-long'] },
  remoteTargetOff: { options: 'luks,_netdev,headless=1', finds: ['remote-target-off'] },
  configurationBroken: {
    files: config('volumes:\n  data: { give-up-aftr: 6s }\n'),
    finds: ['configuration-wrong'],
  },
  programMissing: { prepare: 'rm /usr/bin/fetch-luks-key', finds: ['program-missing'] },
  groupMissing: {
    // Without what would make it again at boot.
    prepare: `sed -i '/^tss:/d' /etc/group /etc/gshadow; grep -lw tss /usr/lib/sysusers.d/* | xargs -r rm`,
    finds: ['group-missing'],
  },
  noSealedKey: { prepare: `rm ${jwePath('data')}`, finds: ['no-sealed-key'] },
  serverDown: { serverAfterSeconds: null, files: GIVES_UP_SOON, finds: ['will-not-open'] },
  serverDownNofail: {
    serverAfterSeconds: null,
    options: 'luks,nofail,headless=1',
    files: GIVES_UP_SOON,
    finds: ['will-not-open'],
  },
} satisfies Readonly<Record<string, Break>>;
