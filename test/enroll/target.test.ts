import t from 'tap';
import type { VolumeName } from '../../src/base/names.ts';
import type { Files } from '../../src/base/ports.ts';
import { findTarget } from '../../src/enroll/target.ts';
import { files } from '../../src/os/files.ts';
import { makeImage, uuidOf } from '../support/luks.ts';

const folder = t.testdir({});
const { path } = makeImage(folder, 'image');
const other = makeImage(folder, 'other').path;
const uuid = uuidOf(path);
const DATA = 'data' as VolumeName;

/** A machine with this crypttab, whose /dev/sdx is the image. @param links whether udev has made its links */
function machine(crypttab: string, links: boolean): Files {
  return {
    ...files,
    read: async (asked) => (asked === '/crypttab' ? Buffer.from(crypttab) : null),
    readRange: (asked, offset, length) =>
      files.readRange(asked.startsWith('/dev/') ? path : asked, offset, length),
    mode: async (asked) => (links && asked === `/dev/disk/by-uuid/${uuid}` ? 0o660 : null),
  };
}

const find = (crypttab: string, device: string | null, links = true) =>
  findTarget(DATA, '/crypttab', device, machine(crypttab, links));

t.test('by its line, by --device, and by what lasts', async (t) => {
  t.match(await find(`data UUID=${uuid} none`, null), { device: `/dev/disk/by-uuid/${uuid}`, uuid });
  t.match(await find(`data ${path} none`, null), { device: path }, 'as its line has it');
  t.match(await find(`data ${path} none`, '/dev/sdx'), { device: path }, 'the same disk');
  t.match(await find('', '/dev/sdx'), { device: `/dev/disk/by-uuid/${uuid}`, entry: null });
  t.match(await find('', '/dev/sdx', false), { device: '/dev/sdx' });
  t.match(await find('', path), { device: path }, 'udev has no links for images');
});

t.test('neither, or two', async (t) => {
  await t.rejects(find('other /dev/sdx none', null), { code: 'usage', message: /has no line for data/ });
  await t.rejects(find(`data ${other} none`, '/dev/sdx'), { code: 'usage', message: /which is another/ });
});
