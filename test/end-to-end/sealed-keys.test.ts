import t from 'tap';
import { Secret } from '../../src/base/secret.ts';
import { encryptCompact } from '../../src/jwe/content.ts';
import { random } from '../../src/os/random.ts';
import { newSharing } from '../../src/pins/shamir.ts';
import { sealerWith } from '../support/sealing.ts';
import { setStage } from '../support/stage.ts';
import { startSwtpm } from '../support/swtpm.ts';

const tpm = await startSwtpm();
t.teardown(() => tpm.remove());
const stage = await setStage(t, { environment: { TPM2TOOLS_TCTI: tpm.tcti } });
const seal = sealerWith(tpm.tcti, t.testdir());
const KEY = 'opens it all';
const good = await seal('tpm2', {}, KEY);
const parts = good.split('.') as [string, string, string, string, string];

interface Header {
  alg: string;
  enc: string;
  clevis: { pin: string; tpm2: { jwk_priv: string; pcr_ids: string; pcrs: Record<string, string> } };
}

/** The same sealed key with another header, which its tag then does not cover. */
function withHeader(change: (header: Header) => void): string {
  const header = JSON.parse(Buffer.from(parts[0], 'base64url').toString()) as Header;
  change(header);
  return [Buffer.from(JSON.stringify(header)).toString('base64url'), ...parts.slice(1)].join('.');
}

/** @param at which byte of what was encoded; the middle one unless said */
function flipped(base64url: string, at?: number): string {
  const bytes = Buffer.from(base64url, 'base64url');
  const index = at ?? bytes.length >> 1;
  bytes.writeUInt8(bytes.readUInt8(index) ^ 1, index);
  return bytes.toString('base64url');
}

function withPart(index: number, text: string): string {
  return parts.with(index, text).join('.');
}

/** `depth` times `1 of {…}`: as small as that can be, or its length would be refused first. */
function nested(depth: number): string {
  const p = newSharing(1, random).prime.toString('base64url');
  const contentKey = new Secret(random.bytes(32));
  const empty = new Secret(Buffer.alloc(0));
  const around = (jwe: string) =>
    encryptCompact(
      { alg: 'dir', clevis: { pin: 'sss', sss: { t: 1, p, jwe: [jwe] } } },
      contentKey,
      empty,
      random,
    );
  return Array.from({ length: depth }).reduce<string>(around, '');
}

t.test('a sealed key that is whole opens, with white space around it', async (t) => {
  stage.put('data', `\n${good}\r\n`);
  await stage.shows(t, 'whole', 'data', {
    status: 0,
    line: /^data: key delivered, opened by tpm2 in \d+ ms$/,
    gets: Buffer.from(KEY),
  });
});

const notWhole = 'content does not authenticate with the key that the TPM unsealed';

const damages: Record<string, [title: string, jwe: string, line: string][]> = {
  'cut off': [
    ['at once', '', 'expected five parts separated by dots .*, got nothing'],
    ['in the header', good.slice(0, 100), 'expected five parts separated by dots .*, got 1'],
    ['after the header', good.slice(0, parts[0].length + 2), 'expected five parts .*, got 3'],
    ['in the ciphertext', good.slice(0, -parts[4].length - 5), 'expected five parts .*, got 4'],
    ['in the tag', good.slice(0, -2), 'tag: expected 16 bytes, got 15'],
    ['in the last byte', good.slice(0, -1), 'tag \\(part 5\\): expected base64url'],
  ],
  'with one bit flipped': [
    [
      'in the header’s first byte',
      withPart(0, flipped(parts[0], 0)),
      'protected header \\(part 1\\): expected JSON',
    ],
    [
      'in what only the tag covers',
      withHeader(({ clevis: { tpm2 } }) => {
        tpm2.pcrs['7'] = flipped(tpm2.pcrs['7'] ?? '');
      }),
      notWhole,
    ],
    [
      'in the number of a PCR',
      withHeader(({ clevis: { tpm2 } }) => {
        tpm2.pcr_ids = '6';
      }),
      'header field clevis\\.tpm2\\.pcrs: expected the values of PCRs 6, .* got \\{"7":',
    ],
    [
      'in the sealed object',
      withHeader(({ clevis: { tpm2 } }) => {
        tpm2.jwk_priv = flipped(tpm2.jwk_priv);
      }),
      'the key was sealed by another TPM, or before this one was cleared \\(tpm2_load: .*0x[0-9a-f]+\\)',
    ],
    ['in the initialization vector', withPart(2, flipped(parts[2])), notWhole],
    ['in the ciphertext', withPart(3, flipped(parts[3])), notWhole],
    ['in the tag', withPart(4, flipped(parts[4])), notWhole],
  ],
  'of another make': [
    ['an encrypted key', withPart(1, 'AAAA'), 'expected an empty encrypted key \\(part 2\\), got one'],
    [
      'alg',
      withHeader((header) => {
        header.alg = 'ECDH-ES';
      }),
      'header field alg: expected "dir" for pin tpm2, got "ECDH-ES"',
    ],
    [
      'enc',
      withHeader((header) => {
        header.enc = 'A128GCM';
      }),
      'header field enc: expected "A256GCM", got "A128GCM"',
    ],
    [
      'pin',
      withHeader(({ clevis }) => {
        clevis.pin = 'yubikey';
      }),
      'header field clevis\\.pin: expected one of tpm2, tang, remote, systemd-creds, parsec, sss, got "yubikey"',
    ],
    ['no text at all', `${String.fromCharCode(0, 255)}\n`, 'expected five parts .*, got 1'],
    ['nested 20 deep', nested(20), 'expected pins nested at most 4 deep, got more'],
  ],
};

for (const [kind, cases] of Object.entries(damages)) {
  t.test(`a sealed key ${kind} is an integrity failure`, async (t) => {
    for (const [title, jwe, line] of cases) {
      stage.put('data', Buffer.from(jwe, 'latin1'));
      const whole = new RegExp(`^data: \\S+/etc/volumes/data\\.jwe: (?:sealed key: )?${line}`);
      await stage.shows(t, title, 'data', { status: 6, line: whole });
    }
  });
}

t.test('an empty secret is not a key: it would be tried as the empty passphrase', async (t) => {
  stage.put('data', await seal('tpm2', {}, ''));
  await stage.shows(t, 'empty', 'data', {
    status: 6,
    line: /^data: the key of data is empty, which would be tried as the empty passphrase \(hint: seal/,
  });
});

t.test('and none of it left anything in the TPM', async (t) => {
  t.equal(tpm.leftovers(), '');
});
