import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import t, { type Test } from 'tap';
import { answer, serveHttp } from '../support/servers.ts';
import { comesTo, type Outcome, setStage } from '../support/stage.ts';

const KEY = Buffer.from('the key\n\0');
const address = (text: string) => Buffer.from(`\0${text}`);

/** A handler that has the key of `data` and of `Übung µ`. */
async function stageWithKey(t: Test, environment: Record<string, string> = {}) {
  const server = await serveHttp(t, answer(200, KEY));
  const stage = await setStage(t, { environment });
  const settings = { url: `http://127.0.0.1:${server.port}/key`, 'allow-plaintext': true };
  stage.configure({ volumes: { data: settings, 'Übung µ': settings } });
  return stage;
}

const delivered = (volume: string): Outcome => ({
  status: 0,
  line: new RegExp(`^${volume}: key delivered, opened by http://127.0.0.1:\\d+/key in \\d+ ms$`),
  gets: KEY,
});

t.test('what systemd asks for is answered', async (t) => {
  const stage = await stageWithKey(t);
  await stage.shows(t, 'one digit', address('0/cryptsetup/data'), delivered('data'));
  await stage.shows(t, '16 digits', address('ffffffffffffffff/cryptsetup/data'), delivered('data'));
  await stage.shows(t, 'not ASCII', address('1a/cryptsetup/Übung µ'), delivered('Übung µ'));
});

t.test('what it would not ask for is refused, and each client gets what helps it least', async (t) => {
  const stage = await stageWithKey(t);
  const expected = 'expected @HEX/cryptsetup/VOLUME or @HEX/unit/UNIT/CREDENTIAL';
  const tooLong = 'v'.repeat(79);
  const cases: [title: string, peer: Buffer, line: string | RegExp, gets: Outcome['gets']][] = [
    ['a path', Buffer.from(`${dirname(stage.path)}/peer`), `/peer": ${expected}`, 'nothing'],
    ['a name that the kernel chose', Buffer.alloc(0), /^request: peer address "@[0-9a-f]{5}"/, 'nothing'],
    [
      'no known prefix',
      address('1a/cryptsetup-new/data'),
      `"@1a/cryptsetup-new/data": ${expected}`,
      'nothing',
    ],
    ['no digits', address('/cryptsetup/data'), `"@/cryptsetup/data": ${expected}`, 'random'],
    ['17 hex digits', address(`${'a'.repeat(17)}/cryptsetup/data`), expected, 'random'],
    ['upper case', address('1A/cryptsetup/data'), `"@1A/cryptsetup/data": ${expected}`, 'random'],
    ['dot dot', address('1a/cryptsetup/..'), 'volume name "..": expected', 'random'],
    ['an empty volume', address('1a/cryptsetup/'), 'volume name "": expected 1 to 78 bytes', 'random'],
    [
      '79 bytes',
      address(`1a/cryptsetup/${tooLong}`),
      /volume name "v+": expected 1 to 78 .* got 79$/,
      'random',
    ],
    ['not UTF-8', Buffer.from('\x001a/cryptsetup/d\xff', 'latin1'), 'd\xff": expected UTF-8', 'random'],
    ['an extra slash', address('1a/cryptsetup/data/x'), 'volume name "data/x": expected', 'random'],
    ['a line of its own', address('1a/cryptsetup/x\n<6>data: key delivered'), 'x\\n<6>data: key', 'random'],
    ['a token for ..', address('1a/cryptsetup-tpm2/..'), 'volume name "..": expected', 'nothing'],
    [
      'a credential that climbs',
      address('1a/unit/x/../../shadow'),
      'credential "x/../../shadow"',
      'over-long',
    ],
  ];
  for (const [title, peer, line, gets = 'random'] of cases) {
    const pattern = typeof line === 'string' ? new RegExp(`^request: .*${RegExp.escape(line)}`) : line;
    await stage.shows(t, title, peer, { status: 2, line: pattern, gets });
  }
});

t.test('a client that bound no name is told how to ask', async (t) => {
  const stage = await stageWithKey(t);
  const socket = connect({ path: stage.path, allowHalfOpen: true });
  socket.end();
  const chunks = (await socket.toArray()) as Buffer[];
  const status = await stage.ended();
  comesTo(
    t,
    'no name',
    { bytes: Buffer.concat(chunks), status, lines: stage.journal },
    {
      status: 2,
      line: /^request: the client bound no address, .* \(hint: try `fetch-luks-key request VOLUME`/,
      gets: 'nothing',
    },
  );
});

t.test('who asks for anything but a volume’s plain key does not get that', async (t) => {
  const stage = await stageWithKey(t);
  for (const token of ['tpm2', 'pkcs11', 'fido2', 'fido2-salt']) {
    await stage.shows(t, token, address(`1a/cryptsetup-${token}/data`), {
      status: 4,
      line: new RegExp(`^data: a blob for ${token} was asked for, .* \\(hint: remove \\w+-… options`),
      gets: 'nothing',
    });
  }
  await stage.shows(t, 'a credential', address('1a/unit/pg@1.service/password'), {
    status: 4,
    line: /^pg@1\.service\/password: this socket serves volumes, not service credentials/,
    gets: 'over-long',
  });
  await stage.shows(t, 'an unknown volume', 'nope', {
    status: 3,
    line: /^nope: no sealed key for nope: no \S+\/etc\/volumes\/nope\.jwe, no url in \S+\/config\.yaml, no line for it in /,
  });
});

t.test('systemd 257 says the client’s name in REMOTE_ADDR, and escapes what is not ASCII', async (t) => {
  const named = await stageWithKey(t, { REMOTE_ADDR: '@1a/cryptsetup/data' });
  await named.shows(t, 'the variable counts', address('1a/cryptsetup/nope'), delivered('data'));
  const escaped = await stageWithKey(t, { REMOTE_ADDR: '@1a/cryptsetup/\\303\\234bung \\302\\265' });
  await escaped.shows(t, 'the socket counts', address('1a/cryptsetup/Übung µ'), delivered('Übung µ'));
});

t.test('another user may reach the socket, but is refused', async (t) => {
  const stage = await stageWithKey(t);
  chmodSync(dirname(stage.path), 0o755);
  chmodSync(stage.path, 0o777);
  const script = `use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); my $name = "\\0001a/cryptsetup/data";
    bind(S, pack("S a*", AF_UNIX, $name)) or die $!; connect(S, pack_sockaddr_un($ARGV[0])) or die $!;
    shutdown(S, 1); print while <S>`;
  const asNobody = { uid: 65534, gid: 65534, cwd: '/' };
  const { stdout, stderr } = spawnSync('perl', ['-e', script, stage.path], asNobody);
  t.equal(stderr.toString(), '');
  const status = await stage.ended();
  comesTo(
    t,
    'nobody',
    { bytes: stdout, status, lines: stage.journal },
    {
      status: 4,
      line: /^data: process \d+ of user 65534 may not ask for keys$/,
    },
  );
});
