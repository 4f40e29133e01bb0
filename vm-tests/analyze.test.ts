import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { SOCKET_UNIT, TAKEN_FOR_OPEN } from './harness/volumes.ts';

/** What the units' comments promise. */
const EXPOSURE = '1.9';

const section = (name: string, command: string) => `echo '--- ${name}'; ${command} 2>&1; echo "status $?"\n`;
const SCRIPT = [
  section('verify', `systemd-analyze verify --man=no ${SOCKET_UNIT} fetch-luks-key@1.service`),
  section('security', 'systemd-analyze security --no-pager fetch-luks-key@1.service'),
  section('chain', 'systemd-analyze critical-chain --no-pager cryptsetup.target'),
].join('');

scenario(
  'systemd-analyze: verify, security, critical-chain',
  { container: bootContainer },
  async (t, stage) => {
    const { guest } = await sealedGuest(stage, { files: TAKEN_FOR_OPEN });
    const result = await stage.boot({ ...guest, script: `${guest.script}${SCRIPT}` });
    unlockedEarly(t, result);
    const of = (name: string) => result.output.split(`--- ${name}\n`)[1]?.split('\n--- ')[0] ?? '';
    t.equal(of('verify'), 'status 0', 'verify finds nothing');
    t.match(
      of('security'),
      new RegExp(`Overall exposure level for fetch-luks-key@1\\.service: ${EXPOSURE} `),
    );
    t.match(
      of('chain'),
      /systemd-cryptsetup@data\.service/,
      'the boot waits for the volume, and for no unit of ours else',
    );
    stage.keep(`systemd ${stage.version}\n${of('chain')}`);
  },
);
