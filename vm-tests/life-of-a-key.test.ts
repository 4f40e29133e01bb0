import { bootContainer } from './harness/container.ts';
import { completed, delivered, UNIT_FAILED } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { inOrder, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { PASSPHRASE_FILE, unsealedGuest } from './harness/sealed.ts';
import { opensVolume, SOCKET_UNIT } from './harness/volumes.ts';

/** Whether what enroll enables is. */
const ENABLED = `for unit in ${SOCKET_UNIT} remote-cryptsetup.target; do
  echo "$unit: $(systemctl is-enabled "$unit")"
done\n`;

scenario('enroll, reboot, rotate, reboot, unenroll', { container: bootContainer }, async (t, stage) => {
  const { disk, line, guest, enroll } = unsealedGuest(stage);
  const byPassphrase = `--unlock-key-file - < ${PASSPHRASE_FILE}`;
  const first = await stage.boot({ ...guest, script: `${enroll} ${byPassphrase}\n${ENABLED}` });
  completed(t, first);
  t.equal(first.status, 0, first.output);
  t.match(first.output, /^enrolled data in /m);
  t.match(first.output, /^ {2}units {7}enabled: fetch-luks-key@default\.socket remote-cryptsetup\.target$/m);
  t.match(first.output, /^proven: opens by \/run\/fetch-luks-key\/default\.sock$/m);
  t.match(first.output, /^fetch-luks-key@default\.socket: enabled\nremote-cryptsetup\.target: enabled$/m);

  const script = opensVolume(disk);
  const second = await stage.boot({ ...plainGuest, script: `${script}fetch-luks-key rotate data\n` }, first);
  completed(t, second);
  delivered(t, second);
  t.ok(inOrder(second.journal, SYSINIT, UNIT_FAILED), '_netdev: the early boot does not wait for it');
  t.match(second.output, /^rotated data in .*keyslot 1 → 2, the socket opens it$/m);

  const undo = `fetch-luks-key unenroll data ${byPassphrase}\n${ENABLED}cat /etc/crypttab
cryptsetup open --test-passphrase --key-file=${PASSPHRASE_FILE} /disks/data && echo 'the passphrase opens it'\n`;
  const third = await stage.boot({ ...plainGuest, script: `${script}${undo}` }, second);
  completed(t, third);
  delivered(t, third);
  t.match(third.output, /^unenrolled data: keyslot 2 is wiped; the passphrase opens it$/m);
  t.match(third.output, /^fetch-luks-key@default\.socket: disabled\nremote-cryptsetup\.target: disabled$/m);
  t.ok(third.output.includes(`\n${line}`), 'crypttab is as it was');
  t.match(third.output, /^the passphrase opens it$/m);
});
