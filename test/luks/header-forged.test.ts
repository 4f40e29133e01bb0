import t from 'tap';
import { type LuksHeader, readLuksHeader } from '../../src/luks/header.ts';
import { files } from '../../src/os/files.ts';
import {
  type Change,
  checksummed,
  dumpJson,
  forge,
  makeImage,
  opens,
  overwrite,
  PASSPHRASE,
  startOf,
} from '../support/luks.ts';
import { deviceOf, HEADER_BYTES, makeModel } from '../support/luks-model.ts';

/** What somebody who has the disk can write: headers with right checksums that say what he wants. */

const folder = t.testdir({});
const model = makeModel(folder);

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
      const path = model.copy();
      forge(path, which, change);
      t.not(dumpJson(path), null, `${name}: cryptsetup takes the forged header`);
      await t.rejects(
        readLuksHeader(files, path),
        { code: 'refused', message: /^\/.*: LUKS header: (?:segment|keyslot) 0.*: expected a cipher, got/ },
        `${name}, copies ${which}`,
      );
    }
  }
  const path = model.copy();
  forge(path, [0, 1], inSegment('"encryption":"cipher_null-ecb"'));
  t.ok(opens(path, PASSPHRASE), 'cryptsetup would open it with the right key: this is the attack');
});

t.test('an old copy with a null cipher is refused too, as cryptsetup might fall back on it', async (t) => {
  const path = model.copy();
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
        /keyslot 0: area\.key_size: expected at least 16 bytes$/,
      ],
      'a keyslot whose area is encrypted with a key that can be guessed': [
        (json) => json.replace(/("area":\{[^}]*"key_size":)\d+/, '$115'),
        /keyslot 0: area\.key_size: expected at least 16 bytes$/,
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
    const notUtf8 = (copy: Buffer) => {
      copy.writeUInt8(0xff, copy.indexOf('clevis'));
    };
    const said = { code: 'damaged', message: /expected a JSON object$/ };
    await t.rejects(
      readForged((json) => json, notUtf8),
      said,
      'not UTF-8',
    );
  },
);

/** The model with a first copy that is forged, and a second one as it was. */
function readForged(change: Change, binary?: (header: Buffer) => void): Promise<LuksHeader | null> {
  const path = model.copy();
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
    const path = model.copy();
    forge(path, [0], inSegment('"encryption":"cipher_null-ecb"'), sha512);
    t.equal(dumpJson(path)?.segments?.['0']?.encryption, 'cipher_null-ecb', 'cryptsetup takes it');
  },
);

t.test(
  'a copy with a right checksum that says it is elsewhere, or smaller than any, is passed over',
  async (t) => {
    const intact = await readLuksHeader(files, model.image.path);
    const lies: Record<string, (copy: Buffer) => void> = {
      'another offset': (copy) => void copy.writeBigUInt64BE(16n, 256),
      'another version': (copy) => void copy.writeUInt16BE(3, 6),
    };
    for (const [name, lie] of Object.entries(lies)) {
      const path = model.copy();
      forge(path, [0], inSegment('"encryption":"cipher_null-ecb"'), lie);
      if (name === 'another version') await t.rejects(readLuksHeader(files, path), { code: 'damaged' }, name);
      else t.strictSame(await model.agrees(t, path, name), intact, name);
      const second = model.copy();
      forge(second, [1], inSegment('"encryption":"cipher_null-ecb"'), lie);
      t.strictSame(await model.agrees(t, second, `second: ${name}`), intact, name);
    }
    const small = model.copy();
    const start = startOf(small, 2 * HEADER_BYTES);
    start.writeBigUInt64BE(8192n, 8);
    overwrite(small, 0, checksummed(start.subarray(0, 8192)));
    t.strictSame(await model.agrees(t, small, '8 KiB'), intact);
    const away = model.copy();
    overwrite(away, 0, Buffer.alloc(2 * HEADER_BYTES));
    const moved = start.subarray(HEADER_BYTES);
    moved.writeBigUInt64BE(BigInt(2 * HEADER_BYTES), 256);
    overwrite(away, 2 * HEADER_BYTES, checksummed(moved));
    t.equal(dumpJson(away), null, 'cryptsetup refuses a second copy of 16 KiB at 32 KiB');
    await t.rejects(readLuksHeader(files, away), { code: 'damaged' });
  },
);

t.test('a disk that answers differently the second time', async (t) => {
  const good = startOf(model.image.path, 2 * HEADER_BYTES);
  const path = model.copy();
  forge(path, [0, 1], inSegment('"encryption":"cipher_null-ecb"'));
  const bad = startOf(path, 2 * HEADER_BYTES);
  for (let from = 1; from < 5; from++) {
    const device = deviceOf((nr) => (nr < from ? good : bad));
    await t.rejects(readLuksHeader(device, 'disk'), { code: 'refused' }, `from read ${from} on`);
  }
  for (const from of [1, 2]) {
    const short = deviceOf((nr) => (nr < from ? good : good.subarray(0, 100)));
    await t.rejects(readLuksHeader(short, 'disk'), { code: 'damaged' }, `short from read ${from} on`);
  }
});
