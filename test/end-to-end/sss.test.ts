import t from 'tap';
import { toBase64url } from '../../src/base/bytes.ts';
import { Secret } from '../../src/base/secret.ts';
import { encryptCompact } from '../../src/jwe/content.ts';
import { random } from '../../src/os/random.ts';
import { newSharing } from '../../src/pins/shamir.ts';
import { seal, vector } from '../support/sealing.ts';
import { setStage } from '../support/stage.ts';
import { startTang } from '../support/tang.ts';

const KEY = Buffer.from('shared out');
const tang = await startTang(t);
const absent = await startTang(t);
await absent.stop();
const stage = await setStage(t);
const adv: unknown = await (await fetch(`${tang.url}/adv`)).json();

const sharing = newSharing(2, random);
const sealShare = (share: Uint8Array, url = tang.url) => seal('tang', { url, adv }, share);
const a = sharing.share().reveal();
const b = sharing.share().reveal();
const sealedA = await sealShare(a);
const sealedB = await sealShare(b);

/** A pin sss with whatever is asked for in its header; `sharing` has its content key. */
function sss(header: { t?: unknown; p?: Uint8Array; jwe?: unknown }, key: Uint8Array = KEY): string {
  const { t: threshold = 2, p = sharing.prime, jwe = [sealedA, sealedB] } = header;
  const clevis = { pin: 'sss', sss: { t: threshold, p: toBase64url(p), jwe } };
  return encryptCompact({ alg: 'dir', clevis }, sharing.secret, new Secret(Buffer.from(key)), random);
}

t.test('what is no sharing of a secret is an integrity failure', async (t) => {
  const even = Buffer.from(sharing.prime);
  even.writeUInt8(even.readUInt8(31) & 0xfe, 31);
  // Not a share of another secret: that one's y may be outside this field, as each sharing has its own prime.
  const forged = Buffer.from(b);
  forged.writeUInt8(forged.readUInt8(63) ^ 1, 63);
  const withShare = async (share: Uint8Array) => sss({ jwe: [sealedA, await sealShare(share)] });
  const of = (fault: string) => `2 of 2 needed: tang ${tang.url}: sealed key: sss share: ${fault}`;
  const cases: [title: string, jwe: string, line: string][] = [
    ['t = 0', sss({ t: 0 }), 'header field clevis.sss.t: expected 1 to 2, got 0'],
    ['t > n', sss({ t: 3 }), 'header field clevis.sss.t: expected 1 to 2, got 3'],
    ['t as text', sss({ t: '2' }), 'header field clevis.sss.t: expected 1 to 2, got "2"'],
    ['no share', sss({ t: 1, jwe: [] }), 'header field clevis.sss.t: expected 1 to 0, got 1'],
    ['no list', sss({ jwe: {} }), 'header field clevis.sss.jwe: expected a list of sealed keys'],
    ['p not prime', sss({ p: even }), 'header field clevis.sss.p: expected a prime of 256 bits'],
    [
      'p too short',
      sss({ p: sharing.prime.subarray(1) }),
      'header field clevis.sss.p: expected a prime of 256 bits',
    ],
    ['17 servers', sss({ jwe: Array(17).fill(sealedA) }), 'expected at most 16 pins on the network, got 17'],
    ['the same x twice', sss({ jwe: [sealedA, sealedA] }), of('two shares with the same x')],
    ['x = 0', await withShare(Buffer.concat([Buffer.alloc(32), b.subarray(32)])), of('x is 0')],
    ['x ≥ p', await withShare(Buffer.alloc(64, 0xff)), of('outside the field')],
    ['half a share', await withShare(b.subarray(32)), of('expected 64 bytes, got 32')],
    ['another y', await withShare(forged), '2 shares opened, but they or the ciphertext were changed'],
  ];
  for (const [title, jwe, line] of cases) {
    stage.put('data', jwe);
    const whole = new RegExp(`^data: \\S+/etc/volumes/data\\.jwe: (?:sealed key: )?${line}`);
    await stage.shows(t, title, 'data', { status: 6, line: whole });
  }
});

t.test('t of n open it, whatever the others do', async (t) => {
  stage.configure({ volumes: { patient: { 'give-up-after': '0' } } });
  const nobody = await sealShare(b, absent.url);
  const line = new RegExp(`^patient: key delivered, opened by tang ${tang.url} in \\d+ ms$`);
  const inner = sss({}, a);
  for (const [title, jwe] of [
    ['2 of 2', sss({})],
    ['2 of 3', sss({ jwe: [nobody, sealedA, sealedB] })],
    ['2 of 3, one of them 2 of 2', sss({ jwe: [inner, nobody, sealedB] })],
  ] as const) {
    stage.put('patient', jwe);
    await stage.shows(t, title, 'patient', { status: 0, line, gets: KEY });
  }
});

t.test('one that is no share, or no sealed key, leaves its place to the others', async (t) => {
  const zero = await sealShare(Buffer.concat([Buffer.alloc(32), b.subarray(32)]));
  // One letter less is no base64url, whatever the tag is.
  const cut = sealedB.slice(0, -1);
  for (const [title, jwe] of [
    ['x = 0', [zero, sealedA, sealedB]],
    ['the same x twice', [sealedA, sealedA, sealedB]],
    ['of a pin that is not known here', [vector('broken-unknown-pin'), sealedA, sealedB]],
    ['cut', [sealedA, cut, sealedB]],
    ['one that can never open', [sss({ jwe: [cut, cut] }), sealedA, sealedB]],
  ] as const) {
    stage.put('data', sss({ jwe }));
    const line = new RegExp(`^data: key delivered, opened by (?:tang ${tang.url}(?:, )?)+ in`);
    for (let time = 1; time <= 3; time++)
      await stage.shows(t, `${title}, time ${time}`, 'data', { status: 0, line, gets: KEY });
  }
  stage.put('data', sss({ jwe: [cut, sealedA] }));
  await stage.shows(t, 'too few are left', 'data', {
    status: 6,
    line: /data\.jwe: sealed key: tag \(part 5\): expected base64url$/,
  });
});

t.test('t of n that are not to be had are named', async (t) => {
  stage.configure({ volumes: { data: { 'give-up-after': '2s' } } });
  stage.put('data', sss({ jwe: [sealedA, await sealShare(b, absent.url)] }));
  const refused = `tang ${absent.url}/rec/\\S+: connection refused \\(gave up after \\d tries in [01]\\.\\d s\\)`;
  await stage.shows(t, 'one of two', 'data', {
    status: 5,
    line: new RegExp(`^data: \\S+/data\\.jwe: 2 of 2 needed: ${refused}$`),
  });
});
