import { bootContainer } from './harness/container.ts';
import { completed, delivered } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { scenario } from './harness/scenario.ts';
import { PASSPHRASE_FILE, unsealedGuest } from './harness/sealed.ts';
import { opensVolume } from './harness/volumes.ts';

/**
 * In systemctl's place: at the call whose number is in /run/kill-at, of those that change anything, it kills whoever has
 * called it. The other kill points need no systemd: test/enroll/killed.test.ts.
 */
const KILLS = `#!/bin/sh
case "$1" in enable | disable)
  calls=$(($(cat /run/calls) + 1)); echo $calls >/run/calls
  [ $calls != "$(cat /run/kill-at)" ] || { kill -9 $PPID; exit 1; }
esac
exec /usr/bin/systemctl.real "$@"
`;

/** Shell functions: `kill_at CALL COMMAND…` says how the command ended, and whether the passphrase opens the volume. */
const FUNCTIONS = `kill_at() {
  echo 0 >/run/calls; echo $1 >/run/kill-at; shift
  "$@" --unlock-key-file - < ${PASSPHRASE_FILE} >/dev/null; status=$?
  opens='does not open'
  cryptsetup open --test-passphrase --key-file=${PASSPHRASE_FILE} /disks/data && opens=opens
  echo "$2: status $status, the passphrase $opens"
}
[ -e /usr/bin/systemctl.real ] || mv /usr/bin/systemctl /usr/bin/systemctl.real
install -m 755 /root/kills /usr/bin/systemctl
`;

scenario(
  'enroll and unenroll, killed while they enable and disable units',
  { container: bootContainer },
  async (t, stage) => {
    const { disk, line, guest, enroll } = unsealedGuest(stage);
    const first = await stage.boot({
      ...guest,
      files: { ...guest.files, '/root/kills': { content: KILLS } },
      script: `${FUNCTIONS}for call in 1 2; do kill_at $call ${enroll}; done\nkill_at none ${enroll}\n`,
    });
    completed(t, first);
    const [killed, done] = ['status 137', 'status 0'].map((how) => `${how}, the passphrase opens`);
    const ends = (output: string) => output.match(/status \d+, the passphrase.*/g);
    t.strictSame(ends(first.output), [killed, killed, done], first.output);

    const unenroll = 'fetch-luks-key unenroll data';
    const undo = `${FUNCTIONS}for call in 1 2; do kill_at $call ${unenroll}; done\ncat /etc/crypttab\n`;
    const second = await stage.boot({ ...plainGuest, script: `${opensVolume(disk)}${undo}` }, first);
    completed(t, second);
    delivered(t, second);
    t.strictSame(ends(second.output), [killed, killed], second.output);

    const third = await stage.boot(
      { ...plainGuest, script: `${FUNCTIONS}kill_at none ${unenroll}\ncat /etc/crypttab\n` },
      second,
    );
    completed(t, third);
    t.strictSame(ends(third.output), [done], third.output);
    t.ok(third.output.includes(`\n${line}`), 'crypttab is as it was');
  },
);
