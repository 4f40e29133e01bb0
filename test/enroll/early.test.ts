import t from 'tap';
import type { VolumeName } from '../../src/base/names.ts';
import type { Files } from '../../src/base/ports.ts';
import { refuseEarly } from '../../src/enroll/early.ts';
import type { Target } from '../../src/enroll/target.ts';
import { files } from '../../src/os/files.ts';

const UUID = '83c6ce2f-5d20-47ab-a0d0-ae426bf77400';
const DM = `CRYPT-LUKS2-${UUID.replaceAll('-', '')}-data`;

/** A machine whose kernel says this of its mounts and disks. */
function machine(contents: Record<string, string>): Files {
  return {
    ...files,
    read: async (path) => (contents[path] === undefined ? null : Buffer.from(contents[path])),
    list: async (path) => contents[path]?.split(' ') ?? [],
  };
}

function target(...options: string[]): Target {
  const entry = { options, line: 1 } as unknown as Target['entry'];
  return { volume: 'data' as VolumeName, uuid: UUID, entry } as unknown as Target;
}

const mounts = (...lines: string[]) => ({ '/proc/self/mountinfo': `${lines.join('\n')}\n` });
const refused = { code: 'refused', message: /^data is opened in the initramfs/, hint: /--no-crypttab/ };

t.test('what / or /usr is on', async (t) => {
  const cases: [string, Record<string, string>][] = [
    ['itself', { ...mounts('1 0 253:0 / / rw - ext4 /dev/mapper/x rw'), '/sys/dev/block/253:0/dm/uuid': DM }],
    [
      'a logical volume on it, /usr',
      {
        ...mounts('1 0 8:1 / / rw - ext4 /dev/sda1 rw', '2 1 253:1 / /usr rw - ext4 /dev/mapper/vg-usr rw'),
        '/sys/dev/block/253:1/dm/uuid': 'LVM-xyz',
        '/sys/dev/block/253:1/slaves': 'sdb dm-0',
        '/sys/class/block/sdb/dev': '8:16\n',
        '/sys/class/block/dm-0/dev': '253:0\n',
        '/sys/dev/block/253:0/dm/uuid': DM,
      },
    ],
    ['btrfs', mounts('1 0 0:22 /@ / rw shared:1 - btrfs /dev/mapper/data rw')],
  ];
  for (const [title, contents] of cases)
    await t.rejects(refuseEarly(target(), machine(contents)), refused, title);
  await t.rejects(refuseEarly(target('luks', 'initramfs'), machine({})), refused);
  await t.rejects(refuseEarly(target('x-initrd.attach'), machine({})), refused);
});

t.test('what is not', async (t) => {
  const other = {
    ...mounts(
      '1 0 253:1 / / rw - ext4 /dev/mapper/root rw',
      '2 1 253:0 / /srv rw - ext4 /dev/mapper/data rw',
    ),
    '/sys/dev/block/253:1/dm/uuid': 'CRYPT-LUKS2-0123456789abcdef0123456789abcdef-root',
    '/sys/dev/block/253:0/dm/uuid': DM,
  };
  await t.resolves(refuseEarly(target('luks', '_netdev'), machine(other)));
  await t.resolves(refuseEarly(target(), machine({})));
});
