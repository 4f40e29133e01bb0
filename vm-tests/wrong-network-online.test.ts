import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { ASKED } from './harness/expect.ts';
import { CYCLE, lineOf, SYSINIT } from './harness/journal.ts';
import { NETWORK_UNIT } from './harness/network.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

scenario(
  'wrong: After=network-online.target in the service',
  { container: bootContainer },
  async (t, stage) => {
    const { guest } = await sealedGuest(stage, breaks.networkOnline);
    const { hung, journal } = await stage.boot({ ...guest, watchdogSeconds: 10 });
    t.match(hung, /fetch-luks-key@\S+\.service +start +waiting/, 'the handler waits for the network');
    t.match(hung, new RegExp(`${NETWORK_UNIT} +start +waiting`), 'which waits for sysinit.target');
    t.equal(lineOf(journal, CYCLE), null, 'systemd sees no cycle in it');
    t.equal(lineOf(journal, ASKED), null, 'the handler never starts');
    t.equal(lineOf(journal, SYSINIT), null, 'the boot never ends');
  },
);
