import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import { keyServerLayer } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { SOCKET_UNIT, TAKEN_FOR_OPEN } from './harness/volumes.ts';

/** What each service promises at most; 10 = nothing, as what acts upon a verdict has all of root's privileges. */
const EXPOSURES: Readonly<Record<string, number>> = {
  'fetch-luks-key@1.service': 1.9,
  'fetch-luks-key-credential@1.service': 1.9,
  'fetch-luks-key-encrypted.service': 1.9,
  'fetch-luks-key-keepalive.service': 1.9,
  'fetch-luks-key-act@locked.service': 10,
  'luks-key-server.service': 1.5,
};
/** All that both packages ship: `ls` in the guest says whether one is missing here. */
const UNITS = [
  ...Object.keys(EXPOSURES),
  SOCKET_UNIT,
  'fetch-luks-key-credential@default.socket',
  'fetch-luks-key-encrypted.socket',
  'fetch-luks-key-act@locked.path',
  'luks-key-server.socket',
];

const section = (name: string, command: string) => `echo '--- ${name}'; ${command} 2>&1; echo "status $?"\n`;
const SCRIPT = [
  section('shipped', 'cd /usr/lib/systemd/system && ls | grep luks-key'),
  section('verify', `systemd-analyze verify --man=no ${UNITS.join(' ')}`),
  ...Object.keys(EXPOSURES).map((unit) => section(unit, `systemd-analyze security --no-pager ${unit}`)),
  section('chain', 'systemd-analyze critical-chain --no-pager cryptsetup.target'),
].join('');

scenario(
  'systemd-analyze: verify, security, critical-chain',
  { container: bootContainer },
  async (t, stage) => {
    const { guest } = await sealedGuest(stage, { files: TAKEN_FOR_OPEN });
    const layers = [await keyServerLayer(stage.suite)];
    const result = await stage.boot({ ...guest, layers, script: `${guest.script}${SCRIPT}` });
    unlockedEarly(t, result);
    const of = (name: string) => result.output.split(`--- ${name}\n`)[1]?.split('\n--- ')[0] ?? '';
    t.equal(of('verify'), 'status 0', 'verify finds nothing');
    const shipped = UNITS.map((unit) => unit.replace(/@.*\./, '@.'));
    t.strictSame(
      of('shipped').split('\n').slice(0, -1).toSorted(),
      shipped.toSorted(),
      'each unit is looked at',
    );
    for (const [unit, most] of Object.entries(EXPOSURES)) {
      const [, got = ''] = /Overall exposure level for \S+: ([\d.]+) /.exec(of(unit)) ?? [];
      t.ok(got !== '' && Number(got) <= most, `${unit}: an exposure of at most ${most}`, { got });
    }
    t.match(
      of('chain'),
      /systemd-cryptsetup@data\.service/,
      'the boot waits for the volume, and for no unit of ours else',
    );
    stage.keep(`systemd ${stage.version}\n${of('chain')}`);
  },
);
