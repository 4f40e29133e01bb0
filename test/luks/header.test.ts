import { writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { AppError } from '../../src/base/errors.ts';
import type { Files } from '../../src/base/ports.ts';
import { type LuksHeader, readLuksHeader } from '../../src/luks/header.ts';
import { files } from '../../src/os/files.ts';
import {
  addKeyslot,
  addToken,
  type Change,
  copyImage,
  dumpJson,
  forge,
  type Image,
  killKeyslot,
  makeImage,
  opens,
  overwrite,
  PASSPHRASE,
  startOf,
} from '../support/luks.ts';

const HEADER_BYTES = 16 * 1024;
const folder = t.testdir({});

/** Three keyslots, of which 1 was killed and 2 does not open the data; two tokens. */
const model = makeImage(folder, 'model');
addKeyslot(model, 'second');
addKeyslot(model, 'third', ['--unbound', '--key-size', '512']);
addKeyslot(model, 'fourth');
killKeyslot(model, 1);
addToken(model, { type: 'clevis', keyslots: ['3'], jwe: {} });
addToken(model, { type: 'other', keyslots: [], 'more of it': { a: [1, 'ü'] } });

let copies = 0;
function copyOf(image: Image): string {
  const path = `${folder}/copy${copies++}`;
  copyImage(image.path, path);
  return path;
}

/** What cryptsetup says of a spare copy, in the form of ours. */
function asCryptsetupReads(path: string): LuksHeader | null {
  const spare = copyOf({ path, keyFile: '' });
  const json = dumpJson(spare);
  if (json === null) return null;
  const bound = Object.values(json.digests ?? {})
    .filter((digest) => (digest.segments as string[]).length > 0)
    .flatMap((digest) => digest.keyslots as string[]);
  return {
    version: 2,
    metadata: {
      activeKeyslots: Object.keys(json.keyslots ?? {}).filter((id) => bound.includes(id)),
      tokens: Object.entries(json.tokens ?? {}).map(([id, content]) => ({
        id,
        type: String(content.type),
        keyslots: content.keyslots as string[],
        content,
      })),
    },
  };
}

async function agrees(t: Test, path: string, name: string): Promise<LuksHeader | null> {
  const ours = await readLuksHeader(files, path);
  t.not(ours, null, name);
  t.strictSame(ours, asCryptsetupReads(path), `${name}: as cryptsetup`);
  return ours;
}

t.test('what cryptsetup made', async (t) => {
  const header = await agrees(t, model.path, 'model');
  t.strictSame(header?.version === 2 && header.metadata.activeKeyslots, ['0', '3']);
  for (const size of ['16k', '64k', '4m']) {
    const image = makeImage(folder, size, ['--luks2-metadata-size', size, '--luks2-keyslots-size', '1m']);
    await agrees(t, image.path, `a header of ${size}`);
  }
  const detached = makeImage(folder, 'detached', ['--header', `${folder}/header`]);
  await agrees(t, `${folder}/header`, 'a detached header');
  t.equal(await readLuksHeader(files, detached.path), null, 'and its disk is nothing');
});

t.test('LUKS1, other things, and nothing', async (t) => {
  const old = makeImage(folder, 'luks1', ['--type', 'luks1']);
  t.strictSame(await readLuksHeader(files, old.path), { version: 1 });
  for (const contents of ['', 'LUKS', '\0'.repeat(100), 'x'.repeat(50_000), 'SKUL\xba\xbe']) {
    writeFileSync(`${folder}/other`, Buffer.from(contents, 'latin1'));
    t.equal(await readLuksHeader(files, `${folder}/other`), null, JSON.stringify(contents.slice(0, 10)));
  }
  await t.rejects(readLuksHeader(files, `${folder}/absent`), { code: 'unavailable' });
  const seven = copyOf(model);
  overwrite(seven, 6, Buffer.from([0, 7]));
  await t.rejects(readLuksHeader(files, seven), {
    code: 'damaged',
    message: /expected LUKS version 1 or 2, got 7/,
  });
  writeFileSync(`${folder}/cut`, startOf(model.path, 8));
  await t.rejects(readLuksHeader(files, `${folder}/cut`), { code: 'damaged' });
});

t.test('a damaged first copy: the second serves, as for cryptsetup', async (t) => {
  for (const image of [model, { ...model, path: `${folder}/4m` }]) {
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
      const path = copyOf(image);
      overwrite(path, offset, bytes);
      t.strictSame(await agrees(t, path, name), intact, `${name}: nothing is lost`);
    }
  }
});

t.test('a damaged second copy does not matter, two damaged ones do', async (t) => {
  const path = copyOf(model);
  overwrite(path, HEADER_BYTES + 5000, Buffer.alloc(50));
  t.strictSame(await agrees(t, path, 'second damaged'), await readLuksHeader(files, model.path));
  overwrite(path, 5000, Buffer.alloc(50));
  await t.rejects(readLuksHeader(files, path), {
    code: 'damaged',
    message: /both copies of the header are damaged/,
  });
  t.equal(dumpJson(path), null, 'cryptsetup refuses it as well');
});

t.test('of two intact copies the newer counts, whichever it is', async (t) => {
  const image: Image = { ...model, path: copyOf(model) };
  const before = startOf(image.path, 2 * HEADER_BYTES);
  addToken(image, { type: 'newer', keyslots: [] });
  const newest = await readLuksHeader(files, image.path);
  for (const old of [0, 1]) {
    const path = copyOf(image);
    overwrite(path, old * HEADER_BYTES, before.subarray(old * HEADER_BYTES, (old + 1) * HEADER_BYTES));
    t.strictSame(await agrees(t, path, `copy ${old} is old`), newest);
  }
});

const nullCiphers: Record<string, Change> = {
  'data with cipher_null': inSegment('"encryption":"cipher_null-ecb"'),
  'data with null': inSegment('"encryption":"null"'),
  "data with the kernel's spelling": inSegment('"encryption":"capi:ecb(cipher_null)-plain"'),
  'data that is plain': (json) => json.replace('"type":"crypt"', '"type":"linear"'),
  'a keyslot with cipher_null': (json) =>
    json.replace(/("area":\{[^}]*"encryption":)"[^"]*"/, '$1"cipher_null-ecb"'),
};

function inSegment(encryption: string): Change {
  return (json) => json.replace(/("type":"crypt"[^}]*)"encryption":"[^"]*"/, `$1${encryption}`);
}

t.test('a header that has the data or a key in clear is refused, in either copy', async (t) => {
  for (const [name, change] of Object.entries(nullCiphers)) {
    for (const which of [[0, 1], [0], [1]] as const) {
      const path = copyOf(model);
      forge(path, which, change);
      t.not(dumpJson(path), null, `${name}: cryptsetup takes the forged header`);
      await t.rejects(
        readLuksHeader(files, path),
        { code: 'refused', message: /^\/.*: LUKS header: (?:segment|keyslot) 0.*: expected a cipher, got/ },
        `${name}, copies ${which}`,
      );
    }
  }
  const path = copyOf(model);
  forge(path, [0, 1], inSegment('"encryption":"cipher_null-ecb"'));
  t.ok(opens(path, PASSPHRASE), 'cryptsetup would open it with the right key: this is the attack');
});

t.test('an old copy with a null cipher is refused too, as cryptsetup might fall back on it', async (t) => {
  const path = copyOf(model);
  forge(path, [1], inSegment('"encryption":"cipher_null-ecb"'), (header) => header.writeBigUInt64BE(1n, 16));
  await t.rejects(readLuksHeader(files, path), { code: 'refused' });
});

t.test('LUKS1 with a null cipher is refused', async (t) => {
  const old = makeImage(folder, 'luks1-null', ['--type', 'luks1']);
  overwrite(old.path, 8, Buffer.from('cipher_null\0'));
  await t.rejects(readLuksHeader(files, old.path), {
    code: 'refused',
    message: /the data: expected a cipher/,
  });
});

t.test(
  'what is intact but not as it should be is damaged, never passed over for the other copy',
  async (t) => {
    const twice = (json: string) => json.replace('"segments":{', '"segments":{},"segments":{');
    t.match(
      await readForged(twice),
      { version: 2 },
      'of two members with one name the last counts, as for cryptsetup',
    );
    const wrong: Record<string, [change: Change, said: RegExp]> = {
      'not JSON': [() => '{', /expected a JSON object$/],
      'a list': [() => '[]', /expected a JSON object$/],
      'NUL in a name': [
        (json) => json.replace('"segments":{"0":{', '$&"encryption\\u0000":"cipher_null-ecb",'),
        /expected a JSON object$/,
      ],
      'NUL in a value': [(json) => json.replace('aes-xts', '\\u0000aes'), /expected a JSON object$/],
      'a comment': [(json) => json.replace('{', '{/* */'), /expected a JSON object$/],
      'more after it': [(json) => `${json}\0x`, /expected JSON and then NUL to the end$/],
      'no segments': [(json) => json.replace('"segments"', '"other"'), /segments: expected a JSON object$/],
      'segments in a list': [
        (json) => json.replace(/"segments":\{.*?\}\}/, '"segments":[]'),
        /segments: expected a JSON object$/,
      ],
      'a segment that is text': [
        (json) => json.replace(/"segments":\{.*?\}\}/, '"segments":{"0":"x"}'),
        /segments: expected objects with a number each, got "0"$/,
      ],
      'an id that is no number': [
        (json) => json.replace('"segments":{"0"', '"segments":{"x"'),
        /segments: expected objects with a number each, got "x"$/,
      ],
      'a segment without cipher': [inSegment('"other":""'), /segment 0: encryption: expected text$/],
      'a cipher that is a number': [inSegment('"encryption":1'), /segment 0: encryption: expected text$/],
      'a keyslot without area': [
        (json) => json.replace('"area":', '"era":'),
        /keyslot 0: area\.encryption: expected text$/,
      ],
      'keyslots as numbers': [
        (json) => json.replace('"keyslots":["3"]', '"keyslots":[3]'),
        /token 0: keyslots: expected a list of at most 32/,
      ],
      'a token without type': [
        (json) => json.replace('"type":"clevis"', '"typ":"clevis"'),
        /token 0: type: expected text$/,
      ],
      '33 tokens': [
        (json) =>
          json.replace(
            '"tokens":{',
            `"tokens":{${Array.from({ length: 33 }, (_, id) => `"${id + 5}":{"type":"x","keyslots":[]},`).join('')}`,
          ),
        /tokens: expected at most 32, got 35$/,
      ],
    };
    for (const [name, [change, said]] of Object.entries(wrong)) {
      await t.rejects(readForged(change), { code: 'damaged', message: said }, name);
    }
  },
);

/** The model with a first copy that is forged, and a second one as it was. */
function readForged(change: Change, binary?: (header: Buffer) => void): Promise<LuksHeader | null> {
  const path = copyOf(model);
  forge(path, [0], change, binary);
  return readLuksHeader(files, path);
}

t.test(
  'a checksum by another hash, which cryptsetup takes, is an error and not a reason for the other copy',
  async (t) => {
    const sha512 = (header: Buffer) => {
      header.write('sha512\0', 72);
    };
    await t.rejects(
      readForged((json) => json, sha512),
      { code: 'damaged', message: /checksum algorithm: expected "sha256", got "sha512"/ },
    );
    const path = copyOf(model);
    forge(path, [0], inSegment('"encryption":"cipher_null-ecb"'), sha512);
    t.equal(dumpJson(path)?.segments?.['0']?.encryption, 'cipher_null-ecb', 'cryptsetup takes it');
  },
);

/** A device in memory: what a file gives, thousands of times, or different bytes at each read. */
function deviceOf(read: (nr: number) => Buffer): Files {
  let nr = 0;
  return {
    ...files,
    readRange: async (_path, offset, length) => Buffer.from(read(nr++).subarray(offset, offset + length)),
  };
}

t.test('a disk that answers differently the second time', async (t) => {
  const good = startOf(model.path, 2 * HEADER_BYTES);
  const path = copyOf(model);
  forge(path, [0, 1], inSegment('"encryption":"cipher_null-ecb"'));
  const bad = startOf(path, 2 * HEADER_BYTES);
  for (let from = 1; from < 5; from++) {
    const device = deviceOf((nr) => (nr < from ? good : bad));
    await t.rejects(readLuksHeader(device, 'disk'), { code: 'refused' }, `from read ${from} on`);
  }
  const short = deviceOf((nr) => (nr === 0 ? good : good.subarray(0, 5000)));
  await t.rejects(readLuksHeader(short, 'disk'), { code: 'damaged' });
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
  const whole = startOf(model.path, 2 * HEADER_BYTES);
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
  const whole = startOf(model.path, 2 * HEADER_BYTES);
  const intact = await outcome(whole);
  const place = fc.tuple(fc.nat({ max: HEADER_BYTES - 1 }), fc.nat({ max: 7 }));
  // Six bytes of magic and two of version say what it is at all, and have tests of their own.
  const flip = (bytes: Buffer, offset: number, bit: number) =>
    bytes.writeUInt8(bytes.readUInt8(offset) ^ (1 << bit), offset);
  const isName = (offset: number) => offset < 8 || (offset >= 72 && offset < 104);
  await fc.assert(
    fc.asyncProperty(place, place, async ([first, bit], [second, otherBit]) => {
      fc.pre(!isName(first) && !isName(second));
      const bytes = Buffer.from(whole);
      flip(bytes, first, bit);
      t.strictSame(await outcome(bytes), intact);
      flip(bytes, HEADER_BYTES + second, otherBit);
      t.equal(await outcome(bytes), 'damaged');
    }),
  );
});
