import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { parseCrypttab } from '../../src/luks/crypttab.ts';
import {
  type CrypttabEdit,
  checkOptions,
  OTHER_KEY_OPTIONS,
  withKeyFile,
  withoutEdit,
} from '../../src/luks/crypttab-edit.ts';

const SOCKET = '/run/fetch-luks-key/default.sock';

function edit(text: string | Buffer, options: readonly string[] = [], volume = 'data'): CrypttabEdit {
  const wanted = { volume, device: 'UUID=0a-b', keyFile: SOCKET, options };
  return withKeyFile(Buffer.from(text), wanted, 'crypttab');
}

/** What patch(1) makes of the text with this diff. */
function patched(folder: string, text: Buffer, diff: string): Buffer {
  writeFileSync(`${folder}/crypttab`, text);
  execFileSync('patch', ['--binary', '--silent', `${folder}/crypttab`], { input: diff });
  return readFileSync(`${folder}/crypttab`);
}

t.test('only the key file and what is missing of the options change', (t) => {
  const cases: [title: string, before: string, after: string, options?: string[]][] = [
    ['no key', 'data /dev/sdb none luks\n', `data /dev/sdb ${SOCKET} luks\n`],
    ['a dash', 'data\t/dev/sdb\t-\tluks\n', `data\t/dev/sdb\t${SOCKET}\tluks\n`],
    ['no options', 'data /dev/sdb none\n', `data /dev/sdb ${SOCKET}\n`],
    ['two fields', 'data\t/dev/sdb\n', `data\t/dev/sdb\t${SOCKET}\n`],
    [
      'two fields, options wanted',
      'data  /dev/sdb',
      `data  /dev/sdb  ${SOCKET}  luks,_netdev`,
      ['luks', '_netdev'],
    ],
    ['no options that count', 'data /dev/sdb none none\n', `data /dev/sdb ${SOCKET} luks\n`, ['luks']],
    [
      'an option that is there',
      'data /dev/sdb none a,_netdev\n',
      `data /dev/sdb ${SOCKET} a,_netdev,luks\n`,
      ['luks', '_netdev'],
    ],
    [
      'white space everywhere',
      ' \t data \v /dev/sdb\f  none   luks\t\n',
      ` \t data \v /dev/sdb\f  ${SOCKET}   luks\t\n`,
    ],
    [
      'quotes and escapes',
      'data UUID="0a\\x20b" /etc/key\\040file a\\,b # why\n',
      `data UUID="0a\\x20b" ${SOCKET} a\\,b # why\n`,
    ],
    [
      'Windows',
      '# one\r\ndata /dev/sdb none luks\r\nb /dev/c none\r\n',
      `# one\r\ndata /dev/sdb ${SOCKET} luks\r\nb /dev/c none\r\n`,
    ],
    ['Windows, two fields', 'data /dev/sdb\r\n', `data /dev/sdb ${SOCKET}\r\n`],
    [
      'the first of two',
      'x /dev/a none\ndata /dev/b none\ndata /dev/c none\n',
      `x /dev/a none\ndata /dev/b ${SOCKET}\ndata /dev/c none\n`,
    ],
    [
      'a comment with its name',
      '# data /dev/sdb none\n#data /dev/x\n',
      `# data /dev/sdb none\n#data /dev/x\ndata UUID=0a-b ${SOCKET} luks\n`,
      ['luks'],
    ],
    ['its name alone', 'data\n', `data\ndata UUID=0a-b ${SOCKET}\n`],
    ['empty', '', `data UUID=0a-b ${SOCKET} luks,_netdev\n`, ['luks', '_netdev']],
    ['added to a last line without end', 'x /dev/y', `x /dev/y\ndata UUID=0a-b ${SOCKET}\n`],
    ['added, Windows', 'x /dev/y\r\n', `x /dev/y\r\ndata UUID=0a-b ${SOCKET}\r\n`],
    ['as it should be', `data /dev/sdb ${SOCKET} luks\n`, `data /dev/sdb ${SOCKET} luks\n`, ['luks']],
  ];
  const folder = t.testdir({});
  for (const [title, before, after, options] of cases) {
    const edited = edit(before, options);
    t.equal(edited.bytes.toString(), after, title);
    t.equal(edited.diff === '', before === after, `${title}: a diff when it changes`);
    if (before !== after) {
      t.equal(
        patched(folder, Buffer.from(before), edited.diff).toString(),
        after,
        `${title}: patch(1) agrees`,
      );
    }
    const back = withoutEdit(edited.bytes, edited);
    // A last line that had no end got one, and keeps it.
    const kept = edited.before === null && before !== '' && !before.endsWith('\n') ? `${before}\n` : before;
    t.equal(back?.toString(), kept, `${title}: taken back`);
  }
  t.end();
});

t.test('what is not UTF-8 stays, and names are compared as they are written', (t) => {
  const folder = t.testdir({});
  const odd = Buffer.concat([Buffer.from('# caf\xe9 \xff\n', 'latin1'), Buffer.from('dätä /dev/b none\n')]);
  const edited = edit(odd, [], 'dätä');
  t.strictSame(edited.bytes.subarray(0, 9), odd.subarray(0, 9));
  t.equal(edited.bytes.subarray(9).toString(), `dätä /dev/b ${SOCKET}\n`);
  t.match(edited.diff, /^-dätä \/dev\/b none$/m);
  t.strictSame(patched(folder, odd, edited.diff), edited.bytes);
  t.end();
});

t.test('a line that was changed since is left alone', (t) => {
  const { before, after, bytes } = edit('data /dev/sdb none\n');
  t.equal(withoutEdit(Buffer.from('data /dev/sdc none\n'), { before, after }), null);
  t.equal(
    withoutEdit(Buffer.concat([Buffer.from('# new\n'), bytes]), { before, after })?.toString(),
    '# new\ndata /dev/sdb none\n',
  );
  t.end();
});

t.test('options about another key are taken out', (t) => {
  const without = OTHER_KEY_OPTIONS;
  const line = (fields: string) => {
    const wanted = { volume: 'data', device: '', keyFile: SOCKET, options: ['_netdev'], without };
    return withKeyFile(Buffer.from(`data /dev/sdb ${fields}`), wanted, 'crypttab').after;
  };
  const cases = [
    ['/k luks,keyfile-offset=4,keyfile-size=16,nofail', 'luks,nofail,_netdev'],
    ['/k keyfile-erase,a\\,keyfile-size=1,keyfile-timeout=5s # ours', 'a\\,keyfile-size=1,_netdev # ours'],
    ['- tpm2-device=auto,tpm2-pcrs=7+11,tpm2-pin=yes # ours', 'luks,_netdev # ours'],
    ['- luks,tpm2-measure-pcr=yes,tpm2-device-key=/k', 'luks,tpm2-measure-pcr=yes,_netdev'],
    ['/k', '_netdev'],
  ] as const;
  for (const [fields, after] of cases) t.equal(line(fields), `data /dev/sdb ${SOCKET} ${after}`, fields);
  t.end();
});

t.test('options that cannot be with a socket', (t) => {
  const refused = (option: string) => {
    t.throws(() => checkOptions(['luks', option], 'crypttab:1'), {
      code: 'bad-config',
      message: `crypttab:1: option ${option} does not go with a socket as key file`,
    });
  };
  for (const option of [
    'keyfile-offset=5',
    'tpm2-device=auto',
    'fido2-device=auto',
    'pkcs11-uri=auto',
    'plain',
    'keyscript=/x',
    'swap',
    'tmp=ext4',
    'keyfile-erase',
    'keyfile-erase=yes',
  ])
    refused(option);
  t.doesNotThrow(() => checkOptions(['luks', '_netdev', 'headless=1', 'plainly', 'nofail'], 'crypttab:1'));
  t.end();
});

/** As systemd-cryptsetup says it: 'Failed to parse options: Invalid argument'. */
const isUnreadable = (text: string) => {
  const entry = parseCrypttab(text).entries.find(({ volume }) => volume === 'data');
  const line = entry === undefined ? '' : (text.split('\n')[entry.line - 1] ?? '');
  const [, , , options = ''] = line.split(/[ \t\r\v\f]+/).filter((field) => field !== '');
  return options.replaceAll(/\\[,\\]/g, '').includes('\\');
};

t.test('options that systemd cannot read', (t) => {
  for (const options of ['\\', 'luks,\\', 'lu\\ks', 'a\\,b\\é']) {
    t.ok(isUnreadable(`data /dev/sdb none ${options}`));
    t.throws(() => edit(`# one\ndata /dev/sdb none ${options}\n`), {
      code: 'bad-config',
      message: `crypttab:2: options ${JSON.stringify(options)}: systemd cannot read them`,
    });
  }
  t.end();
});

t.test(
  'property: every other entry reads as before, and ours as wanted; taking it back gives what was',
  (t) => {
    const word = fc.string({ unit: fc.constantFrom(...'aZ09\\",=:/%#@.+-_é🔑'), minLength: 1, maxLength: 6 });
    const space = fc.constantFrom(' ', '\t', ' \t ', '\v');
    const line = fc
      .tuple(
        fc.constantFrom('', ' ', '\t'),
        fc.array(fc.oneof(word, fc.constant('data')), { maxLength: 6 }),
        space,
        fc.constantFrom('', ' ', '\r'),
      )
      .map(([head, words, between, tail]) => head + words.join(between) + tail);
    const file = fc
      .tuple(fc.array(line, { maxLength: 5 }), fc.constantFrom('', '\n'))
      .map(([lines, end]) => lines.join('\n') + end);
    fc.assert(
      fc.property(file, fc.subarray(['luks', '_netdev']), (text, options) => {
        if (isUnreadable(text)) {
          t.throws(() => edit(text, options), { code: 'bad-config' });
          return true;
        }
        const edited = edit(text, options);
        const entries = (from: string) => parseCrypttab(from).entries;
        const others = (from: string) => entries(from).filter(({ volume }) => volume !== 'data');
        const mine = entries(edited.bytes.toString()).find(({ volume }) => volume === 'data');
        t.strictSame(others(edited.bytes.toString()), others(text));
        if (mine?.keyFile !== SOCKET || !options.every((option) => mine.options.includes(option)))
          return false;
        const back = withoutEdit(edited.bytes, edited)?.toString();
        return back === text || back === `${text}\n`;
      }),
      { numRuns: 300 },
    );
    t.end();
  },
);
