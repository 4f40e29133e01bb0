import { bootContainer } from './harness/container.ts';
import { ASKED } from './harness/expect.ts';
import { CYCLE, lineOf, SYSINIT } from './harness/journal.ts';
import { NETWORK_UNIT, networkFiles } from './harness/network.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { SERVICE_FILE, wrongUnit } from './harness/wrong-units.ts';

const WAITS: [string, string] = [
  'DefaultDependencies=no\n',
  'DefaultDependencies=no\nWants=network-online.target\nAfter=network-online.target\n',
];

scenario(
  'wrong: After=network-online.target in the service',
  { container: bootContainer },
  async (t, stage) => {
    const files = { ...networkFiles, ...wrongUnit(SERVICE_FILE, [WAITS]) };
    const { guest } = await sealedGuest(stage, { files });
    const enable = [...guest.enable, NETWORK_UNIT];
    const { hung, journal } = await stage.boot({ ...guest, enable, watchdogSeconds: 10 });
    t.match(hung, /fetch-luks-key@\S+\.service +start +waiting/, 'the handler waits for the network');
    t.match(hung, new RegExp(`${NETWORK_UNIT} +start +waiting`), 'which waits for sysinit.target');
    t.equal(lineOf(journal, CYCLE), null, 'systemd sees no cycle in it');
    t.equal(lineOf(journal, ASKED), null, 'the handler never starts');
    t.equal(lineOf(journal, SYSINIT), null, 'the boot never ends');
  },
);
