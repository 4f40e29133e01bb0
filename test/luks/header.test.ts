import { writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { type LuksHeader, readLuksHeader } from '../../src/luks/header.ts';
import { files } from '../../src/os/files.ts';
import { addToken, dumpJson, type Image, makeImage, overwrite, startOf, uuidOf } from '../support/luks.ts';
import { deviceOf, HEADER_BYTES, makeModel } from '../support/luks-model.ts';

const folder = t.testdir({});
const model = makeModel(folder);

t.test('what cryptsetup made', async (t) => {
  const header = await model.agrees(t, model.image.path, 'model');
  t.strictSame(header?.version === 2 && header.metadata.activeKeyslots, ['0', '3']);
  for (const size of ['16k', '64k', '4m']) {
    const image = makeImage(folder, size, ['--luks2-metadata-size', size, '--luks2-keyslots-size', '1m']);
    await model.agrees(t, image.path, `a header of ${size}`);
  }
  const detached = makeImage(folder, 'detached', ['--header', `${folder}/header`]);
  await model.agrees(t, `${folder}/header`, 'a detached header');
  t.equal(await readLuksHeader(files, detached.path), null, 'and its disk is nothing');
});

t.test('LUKS1, other things, and nothing', async (t) => {
  const old = makeImage(folder, 'luks1', ['--type', 'luks1']);
  t.strictSame(await readLuksHeader(files, old.path), { version: 1, uuid: uuidOf(old.path) });
  for (const contents of ['', 'LUKS', '\0'.repeat(100), 'x'.repeat(50_000), 'SKUL\xba\xbe']) {
    writeFileSync(`${folder}/other`, Buffer.from(contents, 'latin1'));
    t.equal(await readLuksHeader(files, `${folder}/other`), null, JSON.stringify(contents.slice(0, 10)));
  }
  await t.rejects(readLuksHeader(files, `${folder}/absent`), { code: 'unavailable' });
  const seven = model.copy();
  overwrite(seven, 6, Buffer.from([0, 7]));
  await t.rejects(readLuksHeader(files, seven), {
    code: 'damaged',
    message: /expected LUKS version 1 or 2, got 7/,
  });
  writeFileSync(`${folder}/cut`, startOf(model.image.path, 8));
  await t.rejects(readLuksHeader(files, `${folder}/cut`), { code: 'damaged' });
});

t.test('a damaged first copy: the second serves, as for cryptsetup', async (t) => {
  for (const image of [model.image, { ...model.image, path: `${folder}/4m` }]) {
    const intact = await readLuksHeader(files, image.path);
    const harm: Record<string, [offset: number, bytes: Buffer]> = {
      'no magic': [0, Buffer.alloc(6)],
      'one byte of the JSON': [4096 + 20, Buffer.from([0xff])],
      'one byte after the JSON': [HEADER_BYTES - 1, Buffer.from([1])],
      'a size that is too large': [8, Buffer.from([0xff])],
      'a size of nothing': [8, Buffer.alloc(8)],
      'another offset': [256 + 7, Buffer.from([1])],
      'the checksum': [448, Buffer.from([1, 2, 3])],
      'all of it': [0, Buffer.alloc(HEADER_BYTES)],
    };
    for (const [name, [offset, bytes]] of Object.entries(harm)) {
      const path = model.copy(image.path);
      overwrite(path, offset, bytes);
      t.strictSame(await model.agrees(t, path, name), intact, `${name}: nothing is lost`);
    }
  }
});

t.test('a damaged second copy does not matter, two damaged ones do', async (t) => {
  const path = model.copy();
  overwrite(path, HEADER_BYTES + 5000, Buffer.alloc(50));
  t.strictSame(await model.agrees(t, path, 'second damaged'), await readLuksHeader(files, model.image.path));
  overwrite(path, 5000, Buffer.alloc(50));
  await t.rejects(readLuksHeader(files, path), {
    code: 'damaged',
    message: /both copies of the header are damaged/,
  });
  t.equal(dumpJson(path), null, 'cryptsetup refuses it as well');
});

t.test('of two intact copies the newer counts, whichever it is', async (t) => {
  const image: Image = { ...model.image, path: model.copy() };
  const before = startOf(image.path, 2 * HEADER_BYTES);
  addToken(image, { type: 'newer', keyslots: [] });
  const newest = await readLuksHeader(files, image.path);
  for (const old of [0, 1]) {
    const path = model.copy(image.path);
    overwrite(path, old * HEADER_BYTES, before.subarray(old * HEADER_BYTES, (old + 1) * HEADER_BYTES));
    t.strictSame(await model.agrees(t, path, `copy ${old} is old`), newest);
  }
});

async function outcome(bytes: Buffer): Promise<LuksHeader | null | string> {
  try {
    return await readLuksHeader(
      deviceOf(() => bytes),
      'disk',
    );
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown.code;
    throw thrown;
  }
}

t.test('property: cut anywhere', async (t) => {
  const whole = startOf(model.image.path, 2 * HEADER_BYTES);
  const intact = await outcome(whole);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: 2 * HEADER_BYTES }), async (length) => {
      const got = await outcome(whole.subarray(0, length));
      if (length >= HEADER_BYTES) t.strictSame(got, intact);
      else if (length < 6) t.equal(got, null);
      else t.equal(got, 'damaged');
    }),
    {
      examples: [
        [0],
        [5],
        [6],
        [7],
        [8],
        [4095],
        [4096],
        [HEADER_BYTES - 1],
        [HEADER_BYTES],
        [HEADER_BYTES + 4096],
      ],
    },
  );
});

t.test('property: one bit flipped in one copy loses nothing, one in each is damaged', async (t) => {
  const whole = startOf(model.image.path, 2 * HEADER_BYTES);
  const intact = await outcome(whole);
  const place = fc.tuple(fc.nat({ max: HEADER_BYTES - 1 }), fc.nat({ max: 7 }));
  // Six bytes of magic and two of version say what it is at all, and have tests of their own, as has the checksum's
  // name. Of the checksum's 64 bytes SHA-256 fills 32; nobody looks at the others.
  const flip = (bytes: Buffer, offset: number, bit: number) =>
    bytes.writeUInt8(bytes.readUInt8(offset) ^ (1 << bit), offset);
  const isApart = (offset: number) =>
    offset < 8 || (offset >= 72 && offset < 104) || (offset >= 480 && offset < 512);
  await fc.assert(
    fc.asyncProperty(place, place, async ([first, bit], [second, otherBit]) => {
      fc.pre(!isApart(first) && !isApart(second));
      const bytes = Buffer.from(whole);
      flip(bytes, first, bit);
      t.strictSame(await outcome(bytes), intact);
      flip(bytes, HEADER_BYTES + second, otherBit);
      t.equal(await outcome(bytes), 'damaged');
    }),
  );
});
