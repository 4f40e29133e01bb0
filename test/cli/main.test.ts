import { readFileSync } from 'node:fs';
import t from 'tap';
import { fails, fetchLuksKey, shell } from '../support/command-line.ts';

const COMMANDS = ['handle', 'seal', 'open', 'enroll', 'rotate', 'reseal', 'unenroll', 'request', 'check'];

t.test('help: on standard output, with an example, for a terminal of 80 columns', async (t) => {
  for (const name of COMMANDS) {
    const { status, stdout, stderr } = await fetchLuksKey([name, '--help']);
    t.strictSame({ status, stderr }, { status: 0, stderr: '' }, name);
    t.match(stdout, new RegExp(`^usage: fetch-luks-key ${name} `));
    t.match(stdout, new RegExp(`^example.*:\\n(?: .*\\n)*? .*fetch-luks-key ${name}\\b`, 'm'));
    t.strictSame(
      stdout.split('\n').filter((line) => line.length > 80),
      [],
    );
  }
  const seal = await fetchLuksKey(['seal', '--help']);
  for (const args of [
    ['seal', '-h'],
    ['seal', 'tpm2', '--nope', '--help'],
  ]) {
    t.strictSame(await fetchLuksKey(args), seal, args.join(' '));
  }
  t.equal((await fetchLuksKey(['open', '--', '--help'])).status, 2, 'a file of that name');
});

t.test('the overview has every command, and what each exit status means', async (t) => {
  const overview = await fetchLuksKey(['--help']);
  t.strictSame({ ...overview, stdout: '' }, { status: 0, stdout: '', stderr: '' });
  for (const name of COMMANDS) t.match(overview.stdout, new RegExp(`^ {2}${name} +[a-z]`, 'm'));
  t.match(overview.stdout, /exit status: 0 ok, .* 5 unavailable,\n6 integrity\n/);
  t.match(overview.stdout, /^example/m);
  t.strictSame(
    overview.stdout.split('\n').filter((line) => line.length > 80),
    [],
  );
  for (const other of ['-h', 'help']) t.strictSame(await fetchLuksKey([other]), overview, other);
});

t.test('the version is that of the package', async (t) => {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  for (const option of ['--version', '-V']) {
    t.strictSame(await fetchLuksKey([option]), {
      status: 0,
      stdout: `fetch-luks-key ${version}\n`,
      stderr: '',
    });
  }
});

t.test('a wrong command line: status 2, one line, and where to look', async (t) => {
  const overview = '\\(hint: one of handle, seal, [a-z, -]+; see fetch-luks-key --help\\)$';
  const see = (command: string) => `\\(hint: see fetch-luks-key ${command} --help\\)$`;
  const cases: [args: string[], line: string][] = [
    [[], `^no command given ${overview}`],
    [['sael'], `^no command "sael" ${overview}`],
    [['toString'], `^no command "toString" ${overview}`],
    [['--nope'], `^no command "--nope" ${overview}`],
    [['seal'], `^seal: expected PIN and CONFIG, got no arguments ${see('seal')}`],
    [['seal', 'tpm2'], `^seal: expected PIN and CONFIG, got 1 argument ${see('seal')}`],
    [['seal', 'tpm2', '{}', 'more'], `^seal: expected PIN and CONFIG, got 3 arguments ${see('seal')}`],
    [['open', 'a', 'b'], `^open: expected FILE, got 2 arguments ${see('open')}`],
    [['request'], `^request: expected VOLUME, got no arguments ${see('request')}`],
    [['check', 'data'], `^check: expected no arguments, got 1 argument ${see('check')}`],
    [['seal', '--jsn'], `^seal: unknown option '--jsn' ${see('seal')}`],
    [['open', '-x'], `^open: unknown option '-x' ${see('open')}`],
    [
      ['seal', '-JlQx'],
      `^seal: unknown option '-J' \\(hint: an argument that begins with - goes after --; see fetch-luks-key seal --help\\)$`,
    ],
    [['check', '--etc'], `^check: option '--etc <value>' argument missing ${see('check')}`],
    [
      ['request', '--socket', '--json', 'a'],
      `^request: option '--socket' argument is ambiguous ${see('request')}`,
    ],
    [['open', '--json=1', 'a'], `^open: option '--json' does not take an argument ${see('open')}`],
  ];
  for (const [args, line] of cases) {
    fails(t, args.join(' ') || 'nothing', await fetchLuksKey(args), 2, new RegExp(line));
  }
});

t.test('handle without systemd', async (t) => {
  const line =
    /^handle: expected one connection from systemd \(LISTEN_PID=\d+, LISTEN_FDS=1\), got .* \(hint: .*request VOLUME\)$/;
  fails(t, 'no connection', await fetchLuksKey(['handle']), 2, line);
  const inherited = { LISTEN_PID: '1', LISTEN_FDS: '1' };
  fails(t, 'one for another process', await fetchLuksKey(['handle'], '', inherited), 2, line);
});

t.test('standard output that nobody reads, or that is full, is one line as well', async (t) => {
  const unread = await shell('{ $FETCH_LUKS_KEY --help; echo "status $?" >&2; } | true');
  t.equal(
    unread.stderr,
    'fetch-luks-key: standard output: closed by its reader before all was written\nstatus 5\n',
  );
  fails(t, 'full', await shell('$FETCH_LUKS_KEY --help > /dev/full'), 5, /^standard output: .*\(ENOSPC\)$/);
});

t.test('standard error that cannot be written leaves the exit status', async (t) => {
  t.strictSame(await shell('$FETCH_LUKS_KEY sael 2> /dev/full'), { status: 2, stdout: '', stderr: '' });
});
