import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { completed, PROMPT } from './harness/expect.ts';
import { inOrder, lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { BOOT_SAID } from './harness/volumes.ts';

/**
 * The unit fails so early that journald may not run yet, and what PID 1 says until then is lost in a container. What it
 * remembers is not. Times are microseconds on one clock.
 */
const UNIT_ENDED = `show() { systemctl show --value -p $1 $2; }
echo "data: $(show Result systemd-cryptsetup@data.service)"
[ $(show InactiveEnterTimestampMonotonic systemd-cryptsetup@data.service) -lt \
  $(show ActiveEnterTimestampMonotonic sysinit.target) ] && echo 'data: ended before sysinit.target'
`;
const LISTENING = /systemd\[1\]: Listening on fetch-luks-key@default\.socket/;

scenario('wrong: socket with default dependencies', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.socketLate);
  const { hung, journal } = await stage.boot({ ...guest, watchdogSeconds: 10 });
  t.match(hung, PROMPT, 'systemd asks for the passphrase');
  t.equal(lineOf(journal, LISTENING), null, 'the socket is not there');
});

scenario(
  'wrong: socket with default dependencies, headless=1',
  { container: bootContainer },
  async (t, stage) => {
    const { guest } = await sealedGuest(stage, breaks.socketLateHeadless);
    const result = await stage.boot({ ...guest, script: BOOT_SAID + UNIT_ENDED });
    completed(t, result);
    t.match(result.output, /^data: exit-code$/m, 'the unit of the volume fails');
    t.match(result.output, /^data: ended before sysinit\.target$/m, 'the boot waited for that');
    t.ok(inOrder(result.journal, SYSINIT, LISTENING), 'the socket comes after it');
    t.notMatch(result.output, /key delivered/, 'nobody was asked for the key');
  },
);

scenario(
  'wrong: socket with default dependencies, _netdev',
  { container: bootContainer },
  async (t, stage) => {
    const { guest } = await sealedGuest(stage, breaks.socketLateNetdev);
    const result = await stage.boot({ ...guest, script: BOOT_SAID + UNIT_ENDED });
    completed(t, result);
    // Nothing orders the one after the other: a slow boot may have the socket in time.
    t.match(result.output, /^data: exit-code$/m, 'the unit of the volume fails');
    t.match(result.output, /^data: ended before sysinit\.target$/m, 'before there is a socket');
    t.notMatch(result.output, /key delivered/, 'nobody was asked for the key');
  },
);
