import { AppError } from '../../src/base/errors.ts';
import { runner } from '../../src/os/processes.ts';
import type { SetUp } from './set-up.ts';

const SOCKET = 'fetch-luks-key@.socket';
const SERVICE = 'fetch-luks-key@.service';
const DROP_IN = 'shop.service.d/50-fetch-luks-key-token.conf';

const without = (line: string) => (text: string) => text.replace(`${line}\n`, '');
/** As most sockets are. */
const late = (text: string) => text.replace('WantedBy=sysinit.target', 'WantedBy=sockets.target');

/** What brings the network up in the late boot. */
const LATE_NETWORK = `[Unit]
Before=network-online.target
[Service]
Type=oneshot
ExecStart=/bin/true
`;

const mountOf = (path: string) => `[Mount]\nWhat=/dev/mapper/data\nWhere=${path}\n`;

/** Units that are not there, not started, or wait for what waits for them. */
export const unitSetUps: readonly SetUp[] = [
  {
    title: 'the socket’s unit is not installed',
    finds: 'socket-missing',
    breaks: (patient) => patient.remove(`units/${SOCKET}`),
  },
  {
    title: 'the socket is masked',
    finds: 'socket-missing',
    breaks: (patient) => patient.mask('fetch-luks-key@default.socket'),
  },
  {
    title: 'the service is not installed',
    finds: 'socket-missing',
    breaks: (patient) => patient.remove(`units/${SERVICE}`),
  },
  {
    title: 'the socket is not enabled',
    finds: 'socket-not-enabled',
    breaks: (patient) => patient.disable('fetch-luks-key@default.socket', 'sysinit.target'),
  },
  {
    title: 'crypttab names another instance than the one that is enabled',
    finds: 'socket-not-enabled',
    says: /^fetch-luks-key@other\.socket: /,
    breaks: (patient) => patient.line('more @FOLDER/data.img /run/fetch-luks-key/other.sock luks'),
  },
  {
    title: 'socket with default dependencies, before cryptsetup-pre.target',
    finds: 'ordering-cycle',
    says: /cryptsetup-pre\.target → fetch-luks-key@default\.socket → /,
    breaks: (patient) => patient.changed(SOCKET, without('DefaultDependencies=no')),
  },
  {
    title: 'the same by a drop-in',
    finds: 'ordering-cycle',
    breaks: (patient) => patient.dropIn(SOCKET, '[Unit]\nDefaultDependencies=yes\n'),
  },
  {
    title: 'socket with default dependencies, as sockets commonly have them',
    finds: 'socket-too-late',
    breaks(patient) {
      patient.changed(SOCKET, (text) =>
        late(without('DefaultDependencies=no')(text)).replaceAll(
          /^(?:Wants|Before)=cryptsetup-pre.*\n/gm,
          '',
        ),
      );
      patient.disable('fetch-luks-key@default.socket', 'sysinit.target');
      patient.enable('fetch-luks-key@default.socket', 'sockets.target');
    },
  },
  {
    title: 'socket that is ordered before nothing',
    finds: 'socket-too-late',
    breaks: (patient) => patient.changed(SOCKET, without('Before=cryptsetup-pre.target')),
  },
  {
    title: 'service with default dependencies',
    finds: 'handler-deadlock',
    says: /→ sysinit\.target → (.* → )?systemd-cryptsetup@data\.service →/,
    breaks: (patient) => patient.changed(SERVICE, without('DefaultDependencies=no')),
  },
  {
    title: 'service that waits for a network that comes late',
    finds: 'handler-deadlock',
    says: /fetch-luks-key@doctor\.service → network-online\.target → late-network\.service → /,
    breaks(patient) {
      patient.dropIn(SERVICE, '[Unit]\nWants=network-online.target\nAfter=network-online.target\n');
      patient.unit('late-network.service', LATE_NETWORK);
      patient.enable('late-network.service', 'network-online.target');
    },
  },
  {
    title: 'PrivateTmp= in the service, /var/tmp on the volume',
    finds: 'handler-deadlock',
    says: /fetch-luks-key@doctor\.service → (.* → )?var-tmp\.mount → /,
    breaks(patient) {
      patient.dropIn(SERVICE, '[Service]\nPrivateTmp=yes\n');
      patient.unit('var-tmp.mount', mountOf('/var/tmp'));
      patient.enable('var-tmp.mount', 'local-fs.target');
    },
  },
  {
    title: 'StateDirectory= in the service, /var on the volume',
    finds: 'handler-deadlock',
    says: /fetch-luks-key@doctor\.service → (.* → )?var\.mount → /,
    breaks(patient) {
      patient.dropIn(SERVICE, '[Service]\nStateDirectory=fetch-luks-key\n');
      patient.unit('var.mount', mountOf('/var'));
      patient.enable('var.mount', 'local-fs.target');
    },
  },
  {
    title: 'WorkingDirectory= in the service, /srv on the volume',
    finds: 'handler-deadlock',
    breaks(patient) {
      patient.dropIn(SERVICE, '[Service]\nWorkingDirectory=/srv\n');
      patient.unit('srv.mount', mountOf('/srv'));
      patient.enable('srv.mount', 'local-fs.target');
    },
  },
  {
    title: 'a key from the network, which comes late, and no _netdev',
    finds: 'network-after-volume',
    says: /network-online\.target → late-network\.service → /,
    async breaks(patient) {
      patient.config('volumes: { web: { url: "https://127.0.0.1:1/key" } }');
      patient.line('web @FOLDER/data.img /run/fetch-luks-key/default.sock luks');
      patient.unit('late-network.service', LATE_NETWORK);
      patient.enable('late-network.service', 'network-online.target');
    },
  },
  {
    title: '_netdev, and remote-cryptsetup.target is off',
    finds: 'remote-target-off',
    breaks(patient) {
      patient.options('data', 'luks,_netdev');
      patient.disable('remote-cryptsetup.target', 'multi-user.target');
    },
  },
  {
    title: 'RuntimeDirectory= in the service',
    finds: 'socket-deleted',
    breaks: (patient) => patient.dropIn(SERVICE, '[Service]\nRuntimeDirectory=fetch-luks-key\n'),
  },
  {
    title: 'the program is not installed',
    finds: 'program-missing',
    breaks: (patient) =>
      patient.changed(SERVICE, (text) => text.replace('/bin/true', '/absent/fetch-luks-key')),
  },
  {
    title: 'the TPM’s group does not exist',
    finds: 'group-missing',
    breaks: (patient) => patient.dropIn(SERVICE, '[Service]\nSupplementaryGroups=no-such-group\n'),
  },
  {
    title: 'DynamicUser= in the service',
    finds: 'handler-not-root',
    says: /^fetch-luks-key@\.service: DynamicUser=yes: /,
    breaks: (patient) => patient.dropIn(SERVICE, '[Service]\nDynamicUser=yes\n'),
  },
  {
    title: 'another user than root in the service',
    finds: 'handler-not-root',
    says: /^fetch-luks-key@\.service: User=nobody: /,
    breaks: (patient) => patient.dropIn(SERVICE, '[Service]\nUser=nobody\n'),
  },
  {
    title: 'a service takes its credential from our socket, and starts without it too',
    finds: 'credential-may-be-empty',
    says: /^shop\.service: .* credential token /,
    breaks(patient, { byTpm }) {
      patient.service('shop.service', 'token', byTpm);
      patient.changed(DROP_IN, (text) => text.replace(/^ExecStartPre=.*$/m, ''));
    },
  },
  {
    title: 'the same, tested for another credential',
    finds: 'credential-may-be-empty',
    breaks(patient, { byTpm }) {
      patient.service('shop.service', 'token', byTpm);
      patient.changed(DROP_IN, (text) => text.replace('-s %d/token', '-s %d/other'));
    },
  },
  {
    title: 'a service asks the socket of volumes for its credential',
    finds: 'credential-refused',
    says: /^shop\.service: \/run\/fetch-luks-key\/default\.sock is asked for its credential token, and refuses/,
    breaks(patient, { byTpm }) {
      patient.service('shop.service', 'token', byTpm);
      patient.changed(DROP_IN, (text) => text.replace('/credentials/default.sock', '/default.sock'));
    },
  },
  {
    title: 'a service asks for a credential that nobody has sealed',
    finds: 'credential-refused',
    says: /^shop@one\.service: nothing is sealed .*no \S+shop@one\.service\/token\.jwe, no \S+shop@\.service\/token/,
    breaks: (patient) => patient.service('shop@one.service', 'token', null),
  },
  {
    title: 'a service asks where systemd has to authenticate what comes, and does not have it do so',
    finds: 'credential-refused',
    says: /encrypted\.sock is asked for its credential token, and refuses/,
    breaks(patient, { byTpm }) {
      patient.service('shop.service', 'token', byTpm);
      patient.changed(DROP_IN, (text) => text.replace('/credentials/default.sock', '/encrypted.sock'));
    },
  },
  {
    title: 'the socket that services ask is not installed',
    finds: 'socket-missing',
    says: /^fetch-luks-key-credential@default\.socket: /,
    breaks(patient, { byTpm }) {
      patient.service('shop.service', 'token', byTpm);
      patient.remove('units/fetch-luks-key-credential@.socket');
    },
  },
  {
    title: 'a service does not wait for the socket that it asks',
    finds: 'credential-socket-late',
    breaks(patient, { byTpm }) {
      patient.service('shop.service', 'token', byTpm);
      patient.changed(DROP_IN, (text) => text.replace(/^After=.*$/m, ''));
    },
  },
  {
    title: 'nothing starts the socket that a service asks',
    finds: 'credential-socket-late',
    breaks(patient, { byTpm }) {
      patient.service('shop.service', 'token', byTpm);
      patient.changed(DROP_IN, (text) => text.replace(/^Wants=.*$/m, ''));
    },
  },
  {
    title: 'a line of which systemd makes no unit',
    finds: 'volume-ignored',
    breaks: (patient) => patient.options('data', 'luks,tmp,swap'),
  },
  {
    title: 'systemd is not installed',
    finds: 'units-not-checked',
    breaks: (patient) =>
      patient.but({
        runner: {
          run: async (tool, ...rest) => {
            if (!tool.includes('systemd')) return await runner.run(tool, ...rest);
            throw new AppError('tool-missing', `${tool}: cannot be started (ENOENT)`);
          },
        },
      }),
  },
];
