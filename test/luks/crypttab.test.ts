import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { findInCrypttab, headerPath, parseCrypttab } from '../../src/luks/crypttab.ts';
import { files } from '../../src/os/files.ts';

const SOCKET = '/run/fetch-luks-key/default.sock';

interface Unit {
  readonly device: string;
  readonly keyFile: string;
  readonly options: string;
}

/** What systemd's own generator makes of a crypttab: each volume's arguments to systemd-cryptsetup(8). */
function asSystemdReads(folder: string, text: string): Map<string, Unit> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/crypttab`, text);
  const out = `${folder}/out`;
  mkdirSync(out);
  execFileSync('/usr/lib/systemd/system-generators/systemd-cryptsetup-generator', [out, out, out], {
    env: { SYSTEMD_CRYPTTAB: `${folder}/crypttab`, RUNTIME_DIRECTORY: `${folder}/run` },
    stdio: 'pipe',
  });
  const units = new Map<string, Unit>();
  for (const name of readdirSync(out).filter((file) => file.startsWith('systemd-cryptsetup@'))) {
    const unit = readFileSync(`${out}/${name}`, 'utf8');
    const found = /^ExecStart=\S+ attach '(.*?)' '(.*?)' '(.*?)' '(.*?)'$/m.exec(unit);
    const [volume = '', device = '', keyFile = '', options = ''] = (found ?? [])
      .slice(1)
      .map((argument) => argument.replaceAll('%%', '%'));
    units.set(volume, { device, keyFile, options });
  }
  return units;
}

/** Compares our reading of a crypttab with systemd's. */
function agrees(t: Test, folder: string, text: string): void {
  const theirs = asSystemdReads(folder, text);
  const { entries } = parseCrypttab(text);
  t.strictSame(entries.map(({ volume }) => volume).sort(), [...theirs.keys()].sort());
  for (const { volume, device, keyFile, header } of entries) {
    const unit = theirs.get(volume);
    const theirKey = ['', '-', 'none'].includes(unit?.keyFile ?? '') ? null : unit?.keyFile;
    const theirHeader = /(?:^|,)header=(.*)$/.exec(unit?.options ?? '')?.[1] ?? null;
    t.strictSame(
      { volume, device, keyFile, header: header?.path ?? null },
      { volume, device: unit?.device, keyFile: theirKey, header: theirHeader },
    );
  }
}

t.test('fields', (t) => {
  const { entries, problems } = parseCrypttab(`# comment
   # one more, and an empty line

data  UUID=0a-b\t${SOCKET} luks,headless=1 # trailing words do not count
plain /dev/sdb1
 none /dev/sdc   none
 dash /dev/sdc - luks\r
`);
  t.strictSame(problems, []);
  t.strictSame(entries[0], {
    line: 4,
    volume: 'data',
    device: '/dev/disk/by-uuid/0a-b',
    keyFile: SOCKET,
    options: ['luks', 'headless=1'],
    header: null,
  });
  t.strictSame(
    entries.map(({ line, volume, keyFile }) => `${line} ${volume} ${keyFile}`),
    [`4 data ${SOCKET}`, '5 plain null', '6 none null', '7 dash null'],
  );
  t.strictSame(entries[3]?.options, ['luks']);
  t.end();
});

t.test('systemd reads it in the same way', (t) => {
  const text = `# comment
  # indented
data\tUUID="12-ab" ${SOCKET} luks,headless=1 # trailing
single PARTUUID='34-cd' ${SOCKET}
open LABEL="half ${SOCKET}
plain /dev/sdb1
label LABEL=my\\x20label\\040é/ü+@%1 none luks
parted PARTLABEL=漢:#=._- ${SOCKET} luks,,header=/first,nofail,header=/a\\,b\\\\c\\d
control LABEL=a\u0001b\u007f none
octal\\040name /img\\040x - luks
"quoted" "/dev/sdc" none
colon /dev/sdd ${SOCKET} header=/k:foo
six a ${SOCKET} luks e f
crlf /dev/sde none luks\r
vt\v/dev/sdf\fnone
last /dev/sdg none`;
  agrees(t, t.testdir({}), text);
  t.equal(parseCrypttab(text).entries.length, 14);
  t.end();
});

t.test('property: systemd reads any fields in the same way', (t) => {
  const word = (chars: string) => fc.string({ unit: fc.constantFrom(...chars), minLength: 1, maxLength: 12 });
  const hard = word('aZ09\\x,"=:/%#@.+-_é漢🔑');
  const device = fc.oneof(
    hard.map((path) => `/${path}`),
    fc
      .tuple(fc.constantFrom('UUID', 'PARTUUID', 'LABEL', 'PARTLABEL', 'FOO'), hard)
      .map((tag) => tag.join('=')),
  );
  const option = fc.oneof(
    fc.constantFrom('luks', 'nofail', 'headless=1', ''),
    word('aZ09=_.').map((path) => `header=/${path}`),
  );
  const line = fc.record({
    space: fc.constantFrom(' ', '\t', ' \t  '),
    device,
    key: fc.constantFrom(SOCKET, 'none', '-', '/etc/key\\040file'),
    options: fc.array(option, { maxLength: 4 }).map((options) => options.join(',')),
  });
  // One run of the generator for many lines: each is a case of its own.
  const lines = fc.sample(line, { numRuns: 300, seed: 20 });
  const text = lines
    .map((one, nr) => [`v${nr}`, one.device, one.key, one.options].join(one.space))
    .join('\n');
  agrees(t, t.testdir({}), text);
  t.end();
});

t.test('lines that are wrong are named, and the others still count', (t) => {
  const { entries, problems } = parseCrypttab('alone\na /dev/1\n\na /dev/2\nb /dev/3\n');
  t.strictSame(
    entries.map(({ volume, device }) => `${volume} ${device}`),
    ['a /dev/1', 'b /dev/3'],
  );
  t.strictSame(problems, [
    { line: 1, message: 'expected a name and a device, got "alone" alone' },
    { line: 4, message: 'expected a once, got it on line 2 already' },
  ]);
  t.end();
});

t.test('a volume’s line', async (t) => {
  const folder = t.testdir({ crypttab: `data /dev/sdb ${SOCKET} luks\n`, sub: {} });
  t.match(await findInCrypttab(files, `${folder}/crypttab`, 'data'), { device: '/dev/sdb', line: 1 });
  t.equal(await findInCrypttab(files, `${folder}/crypttab`, 'other'), null);
  t.equal(await findInCrypttab(files, `${folder}/absent`, 'data'), null);
  await t.rejects(findInCrypttab(files, `${folder}/sub`, 'data'), { code: 'bad-config' });
});

t.test('where the LUKS header is', (t) => {
  const of = (line: string) => {
    const [entry] = parseCrypttab(line).entries;
    if (entry === undefined) throw new Error(line);
    return headerPath(entry, '/etc/crypttab');
  };
  t.equal(of('a UUID=1-2 s'), '/dev/disk/by-uuid/1-2');
  t.equal(of('a ID=usb-x s'), '/dev/disk/by-id/usb-x');
  t.equal(of('a /img s luks'), '/img');
  t.equal(of('a /img s luks,header=/x,header=/hdr'), '/hdr', 'the last one');
  t.throws(() => of('a FOO=1 s'), {
    code: 'bad-config',
    message: '/etc/crypttab:1: device: expected an absolute path or a tag such as UUID=, got "FOO=1"',
  });
  t.throws(() => of('a /img s header=hdr'), {
    code: 'bad-config',
    message: /crypttab:1: header=: .* got "hdr"$/,
  });
  t.throws(() => of('a /img s header=/hdr:LABEL=usb'), {
    code: 'bad-config',
    message: '/etc/crypttab:1: header=: a header on /dev/disk/by-label/usb cannot be read from here',
    hint: /copy the header to a file/,
  });
  t.end();
});

t.test('the example in etc/ is right', (t) => {
  const text = readFileSync(new URL('../../etc/crypttab.example', import.meta.url), 'utf8');
  const { entries, problems } = parseCrypttab(text);
  t.strictSame(problems, []);
  t.ok(entries.length >= 2);
  for (const entry of entries) {
    t.equal(entry.keyFile, SOCKET);
    t.match(headerPath(entry, 'crypttab'), /^\//);
  }
  agrees(t, t.testdir({}), text);
  t.end();
});
