import { bootContainer } from './harness/container.ts';
import { ASKED, completed, UNIT_FAILED } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { inOrder, lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { jwePath, sealedGuest } from './harness/sealed.ts';
import { innerTang, TANG_UNIT } from './harness/tang.ts';
import { BOOT_SAID, crypttabLine, makeDisk, SOCKET_UNIT } from './harness/volumes.ts';

/** What crypttab must not say, or cannot. */

scenario('wrong: keyfile-offset= in crypttab', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, { options: 'luks,headless=1,keyfile-offset=1' });
  const result = await stage.boot({ ...guest, script: BOOT_SAID });
  completed(t, result);
  t.equal(lineOf(result.journal, /key delivered/), null, 'no key is delivered');
  t.ok(inOrder(result.journal, UNIT_FAILED, SYSINIT), 'the unit of the volume fails');
});

/** As long as systemd's client can name itself after a volume (unix(7): 107 bytes), and one byte longer. */
const NAMES = { longest: 'n'.repeat(78), longer: 'n'.repeat(79) };

scenario('wrong: a name of 79 bytes in crypttab', { container: bootContainer }, async (t, stage) => {
  const tang = innerTang(stage.folder);
  const disk = makeDisk(stage.folder, NAMES.longest);
  const other = { ...disk, serial: NAMES.longer };
  const sealed = { content: await tang.seal(disk.key), mode: 0o600 };
  const result = await stage.boot({
    ...plainGuest,
    disks: [disk, other],
    enable: [SOCKET_UNIT, TANG_UNIT],
    files: {
      ...tang.files(0),
      '/etc/crypttab': { content: [disk, other].map((disk) => crypttabLine(disk)).join('') },
      [jwePath(disk.serial)]: sealed,
      [jwePath(other.serial)]: sealed,
    },
    script: BOOT_SAID,
  });
  completed(t, result);
  t.match(result.output, new RegExp(`^boot: ${NAMES.longest}: key delivered`, 'm'), '78 bytes are asked for');
  const asked = result.journal.split('\n').filter((line) => ASKED.test(line));
  t.equal(asked.length, 1, 'and nobody else asks');
  t.notMatch(result.output, `${NAMES.longer}: `, 'for 79 bytes nothing is');
});
