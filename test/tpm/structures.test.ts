import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  isSealedPrivate,
  isSealedPublic,
  parseStorageKey,
  savedSessionHandle,
} from '../../src/tpm/structures.ts';
import { ownFolder, ownSwtpm } from '../support/tpm.ts';

const TEMPLATE = '0023000b000304720000000600800043001000030010';

/** A storage key's ESYS_TR with these parts in place of the right ones. */
function serialized({ handle = '81000001', template = TEMPLATE, x = 32, y = 32, tail = '' } = {}): Buffer {
  const coordinate = (length: number) => length.toString(16).padStart(4, '0') + 'ab'.repeat(length);
  const area = Buffer.from(template + coordinate(x) + coordinate(y), 'hex');
  const digest = createHash('sha256').update(area).digest('hex');
  const size = area.length.toString(16).padStart(4, '0');
  return Buffer.from(`${handle}0022000b${digest}00000001${size}${area.toString('hex')}${tail}`, 'hex');
}

t.test('parseStorageKey takes the standard storage key and nothing else', async (t) => {
  t.equal(parseStorageKey(serialized())?.publicArea.length, 92);
  t.ok(parseStorageKey(serialized({ x: 31 })), 'a coordinate without its leading zero');
  const bad = {
    'another handle': serialized({ handle: '81000002' }),
    'a transient handle': serialized({ handle: '80000000' }),
    'a key without noda': serialized({ template: TEMPLATE.replace('00030472', '00030072') }),
    'a signing key': serialized({ template: TEMPLATE.replace('00030472', '00050472') }),
    'another curve': serialized({ template: `${TEMPLATE.slice(0, -8)}00040010` }),
    'a coordinate too long': serialized({ x: 33 }),
    'an empty coordinate': serialized({ y: 0 }),
    'bytes after the end': serialized({ tail: '00' }),
    nothing: Buffer.alloc(0),
  };
  for (const [what, bytes] of Object.entries(bad)) t.equal(parseStorageKey(bytes), null, what);
});

t.test(
  'parseStorageKey: every cut is seen, and every flipped bit but in the name and the point',
  async (t) => {
    const whole = serialized();
    for (let length = 0; length < whole.length; length++) {
      if (parseStorageKey(whole.subarray(0, length)) !== null) t.fail(`cut to ${length}`);
    }
    // The TPM finds a wrong name or point; the name's algorithm and the coordinates' lengths are no more than they.
    const pointAt = whole.length - 2 * (2 + 32);
    const free = (byte: number) => (byte >= 6 && byte < 6 + 34) || byte >= pointAt;
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const flipped = Buffer.from(whole);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      if (parseStorageKey(flipped) !== null && !free(bit >> 3)) t.fail(`bit ${bit}`);
    }
  },
);

t.test('sealed objects: only the outer form is looked at', async (t) => {
  const area = Buffer.from('00060008000b0000', 'hex');
  t.ok(isSealedPublic(area));
  t.notOk(isSealedPublic(Buffer.from('00060023000b0000', 'hex')), 'an ECC key');
  t.notOk(isSealedPublic(area.subarray(0, -1)), 'cut');
  t.notOk(isSealedPublic(Buffer.concat([area, area])), 'too long for its length');
  t.notOk(isSealedPublic(Buffer.from('00010008', 'hex')), 'too short for a type');
  t.ok(isSealedPrivate(Buffer.from('0002abcd', 'hex')));
  t.notOk(isSealedPrivate(Buffer.from('0000', 'hex')), 'empty');
  t.notOk(isSealedPrivate(Buffer.from('0003abcd', 'hex')), 'cut');
  const large = Buffer.alloc(2 + 2000);
  large.writeUInt16BE(2000);
  t.notOk(isSealedPrivate(large), 'larger than any');
});

t.test(
  'savedSessionHandle reads what tpm2_startauthsession writes, of either kind, and no cut of it',
  async (t) => {
    const swtpm = await ownSwtpm(t);
    const file = join(ownFolder(t), 'session');
    for (const [kind, handle] of [
      ['--hmac-session', 0x02000000],
      ['--policy-session', 0x03000001],
    ] as const) {
      swtpm.run('tpm2_startauthsession', [kind, '-S', file]);
      const whole = readFileSync(file);
      t.equal((savedSessionHandle(whole) ?? 0) & 0x00ffffff, handle & 0x00ffffff, kind);
      for (let length = 0; length < 27; length++) {
        if (savedSessionHandle(whole.subarray(0, length)) !== null) t.fail(`cut to ${length}`);
      }
    }
    t.equal(savedSessionHandle(Buffer.alloc(100)), null);
  },
);
