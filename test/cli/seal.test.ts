import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import {
  atTerminal,
  type Ended,
  fails,
  fetchLuksKey,
  shell,
  startFetchLuksKey,
} from '../support/command-line.ts';
import { serveHttp } from '../support/servers.ts';
import { startSwtpm } from '../support/swtpm.ts';
import { startTang } from '../support/tang.ts';

const SECRET = Buffer.from('not text \0\xff\n', 'latin1');
const tpm = await startSwtpm();
t.teardown(() => tpm.remove());
const tang = await startTang(t);
const other = await startTang(t);
const trusted = { url: tang.url, thp: tang.thp };
const ENVIRONMENT = { TPM2TOOLS_TCTI: tpm.tcti };

function seal(pin: string, config: unknown, ...options: string[]): Promise<Ended> {
  return fetchLuksKey(['seal', pin, JSON.stringify(config), ...options], SECRET, ENVIRONMENT);
}

function clevisOpens(t: Test, jwe: string, title: string): void {
  t.strictSame(tpm.run('clevis', ['decrypt'], jwe), SECRET, `${title}: clevis decrypt`);
  tpm.flush();
}

t.test(
  'called as clevis encrypt is, for clevis decrypt: every byte of standard input, and no newline behind it',
  async (t) => {
    writeFileSync(`${t.testdir()}/adv`, execFileSync('curl', ['-s', `${tang.url}/adv`]));
    const cases: [pin: string, config: unknown, ...options: string[]][] = [
      ['tang', trusted],
      ['tang', { url: tang.url }, '-y'],
      ['tang', { url: tang.url }, '--yes'],
      ['tang', { url: tang.url, adv: `${t.testdirName}/adv` }],
      ['sss', { pins: { tang: [trusted, trusted] } }],
    ];
    for (const [pin, config, ...options] of cases) {
      const { status, stdout, stderr } = await seal(pin, config, ...options);
      t.strictSame({ status, stderr }, { status: 0, stderr: '' });
      t.match(stdout, /^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/);
      clevisOpens(t, stdout, `${pin} ${options}`);
    }
    const first = await fetchLuksKey(['seal', '-y', 'tang', JSON.stringify({ url: tang.url })], SECRET);
    clevisOpens(t, first.stdout, 'options first');
  },
);

t.test('--json', async (t) => {
  const { status, stdout, stderr } = await seal('tang', trusted, '--json');
  t.strictSame({ status, stderr }, { status: 0, stderr: '' });
  const { 'sealed-key': sealed, ...rest } = JSON.parse(stdout) as Record<string, string>;
  t.strictSame(rest, { pin: 'tang' });
  clevisOpens(t, sealed ?? '', 'sealed-key');
});

t.test('tpm2 takes what its help says', async (t) => {
  const help = (await fetchLuksKey(['seal', '--help'])).stdout;
  const described = help.slice(help.indexOf('    tpm2 '), help.indexOf('    tang '));
  const digest = Buffer.alloc(32).toString('base64url');
  for (const config of [
    {},
    { pcr_bank: 'sha256', pcr_ids: '7', pcr_digest: digest },
    { pcr_ids: '' },
    { clevis: true },
    { clevis: true, hash: 'sha256', key: 'rsa', pcr_ids: '7' },
  ]) {
    const { status, stdout, stderr } = await seal('tpm2', config);
    t.strictSame({ status, stderr }, { status: 0, stderr: '' }, JSON.stringify(config));
    if ('clevis' in config) clevisOpens(t, stdout, JSON.stringify(config));
    for (const name of Object.keys(config)) t.match(described, `"${name}":`.slice(0, -1));
  }
  fails(t, 'hash alone', await seal('tpm2', { hash: 'sha256' }), 3, /^pin tpm2: hash: .*"clevis": true/);
});

t.test('the example of --help', async (t) => {
  const folder = t.testdir();
  const help = (await fetchLuksKey(['seal', '--help'])).stdout;
  const example = (help.split('example:\n')[1] ?? '')
    .replaceAll('/run/key', `${folder}/key`)
    .replaceAll('/etc/fetch-luks-key/volumes', folder)
    .replaceAll('http://tang.example', tang.url)
    .replaceAll('fetch-luks-key', '$FETCH_LUKS_KEY');
  const terminal = atTerminal(t, folder, example, ENVIRONMENT);
  await terminal.shows('Trust them? [yN] ');
  terminal.press('y\n');
  const { status, screen } = await terminal.ended;
  t.equal(status, 0, screen);
  t.match(screen, tang.thp);
  t.equal(statSync(`${folder}/key`).mode & 0o777, 0o600);
  const opened = await fetchLuksKey(['open', `${folder}/data.jwe`], '', ENVIRONMENT);
  t.equal(opened.stdout, readFileSync(`${folder}/key`, 'utf8'));
});

t.test('nothing to seal', async (t) => {
  fails(
    t,
    'empty',
    await fetchLuksKey(['seal', 'tang', JSON.stringify(trusted)]),
    2,
    /^seal: standard input is empty, and would be the empty passphrase \(hint: .* < KEYFILE\)$/,
  );
  const long = await fetchLuksKey(['seal', 'tang', JSON.stringify(trusted)], Buffer.alloc(2 ** 20));
  fails(t, 'long', long, 2, /^standard input: expected at most \d+ bytes, got more$/);
});

t.test('a wrong configuration', async (t) => {
  const raw = (config: string) => fetchLuksKey(['seal', 'tpm2', config], SECRET);
  const quote = "\\(hint: quote it for the shell: fetch-luks-key seal tpm2 '\\{\\}'\\)$";
  const notJson = (got: string) => new RegExp(`^seal: CONFIG: expected JSON, got ${got} \\(.*\\) ${quote}`);
  fails(t, 'no quotes', await raw('{pcr_ids:7}'), 3, notJson('"\\{pcr_ids:7\\}"'));
  fails(t, 'nothing', await raw(''), 3, notJson('""'));
  fails(t, 'two lines', await raw('{\n"pcr_ids":\n}'), 3, notJson('".*"'));
  fails(t, 'no object', await raw('7'), 3, /^pin tpm2: config: expected an object, got 7$/);
  fails(
    t,
    'no field of it',
    await raw('{"pcrs": "7"}'),
    3,
    /^pin tpm2: pcrs: expected no field but .*got "7"$/,
  );
  fails(
    t,
    'no pin',
    await seal('tmp2', {}),
    3,
    /^pin: expected one of tpm2, tang, remote, systemd-creds, parsec, sss, got "tmp2"$/,
  );
  const nested = { pins: { tmp2: {} } };
  fails(t, 'no pin in it', await seal('sss', nested), 3, /^pin: expected one of .*, got "tmp2"$/);
});

t.test('a Tang server that is not the one', async (t) => {
  const wrong = { url: tang.url, thp: other.thp };
  fails(t, 'asked for its key', await seal('tang', wrong), 5, /: answered 404 \(hint: .* rotated away\?\)$/);
  const adv = JSON.parse(execFileSync('curl', ['-s', `${tang.url}/adv`]).toString()) as unknown;
  const line = /: expected to be signed by key .*, got other keys \(hint: .*tang-show-keys.*\)$/;
  fails(t, 'advertised', await seal('tang', { ...wrong, adv }), 4, line);
});

t.test('without a terminal nobody can be asked', async (t) => {
  const line = `^no terminal to ask at: tang ${tang.url} signs with these keys: ${tang.thp} \\(hint: .* with -y\\)$`;
  fails(t, 'refused', await seal('tang', { url: tang.url }), 4, new RegExp(line));
});

/** Seals at a terminal, with standard input, output and error in files. */
function atWork(t: Test, pin: string, config: unknown) {
  const folder = t.testdir({ secret: SECRET });
  const terminal = atTerminal(
    t,
    folder,
    'exec $FETCH_LUKS_KEY seal "$PIN" "$CONFIG" < secret > sealed 2> errors',
    { PIN: pin, CONFIG: JSON.stringify(config) },
  );
  const file = (name: string) => readFileSync(`${folder}/${name}`, 'utf8');
  return { ...terminal, became: () => ({ stdout: file('sealed'), stderr: file('errors') }) };
}

t.test('at a terminal the thumbprints are shown, and a person decides', async (t) => {
  const yes = atWork(t, 'sss', { t: 2, pins: { tang: [{ url: tang.url }, { url: other.url }] } });
  for (const { url, thp } of [tang, other]) {
    await yes.shows(`tang ${url} signs with these keys:\n${thp}\nTrust them? [yN] `);
    yes.press('y\n');
  }
  t.equal((await yes.ended).status, 0);
  clevisOpens(t, yes.became().stdout, 'trusted');

  const no = atWork(t, 'tang', { url: tang.url });
  await no.shows('[yN] ');
  no.press('n\n');
  const { status } = await no.ended;
  fails(t, 'not trusted', { status, ...no.became() }, 4, /^the answer was no$/);

  const interrupted = atWork(t, 'tang', { url: tang.url });
  await interrupted.shows('[yN] ');
  interrupted.press('\x03');
  const ended = await interrupted.ended;
  const stopped = /^stopped before "Trust them\?" was answered$/;
  fails(t, 'Ctrl-C', { status: ended.status, ...interrupted.became() }, 5, stopped);
});

t.test('a terminal gets a whole line', async (t) => {
  const folder = t.testdir({ secret: SECRET });
  const command = 'exec $FETCH_LUKS_KEY seal tang "$CONFIG" < secret';
  const { ended } = atTerminal(t, folder, command, { CONFIG: JSON.stringify(trusted) });
  t.match((await ended).screen, /^[\w-]+\.\.[\w.-]+\n$/);
});

t.test('a secret is not typed', async (t) => {
  const { ended } = atTerminal(t, t.testdir(), "exec $FETCH_LUKS_KEY seal tpm2 '{}'");
  const { status, screen } = await ended;
  fails(t, 'terminal', { status, stdout: '', stderr: screen }, 2, /^standard input is a terminal \(hint: /);
});

t.test('SIGTERM ends it, whatever it waits for', async (t) => {
  const idle = startFetchLuksKey(t, ['seal', 'tang', JSON.stringify(trusted)]);
  await idle.reads();
  idle.child.kill('SIGTERM');
  fails(t, 'standard input', await idle.ended, 5, /^stopped before standard input ended$/);

  const asked = Promise.withResolvers<void>();
  const silent = await serveHttp(t, () => asked.resolve());
  const config = JSON.stringify({ url: `http://127.0.0.1:${silent.port}`, thp: tang.thp });
  const waiting = startFetchLuksKey(t, ['seal', 'tang', config]);
  waiting.child.stdin?.end(SECRET);
  await asked.promise;
  waiting.child.kill('SIGTERM');
  fails(t, 'a server', await waiting.ended, 5, /^tang http:\/\/127.*stopped/);
});

t.test('through pipes, as in a script', async (t) => {
  const { status, stdout, stderr } = await shell(
    `printf key | $FETCH_LUKS_KEY seal tang '${JSON.stringify(trusted)}' | clevis decrypt`,
  );
  t.strictSame({ status, stdout, stderr }, { status: 0, stdout: 'key', stderr: '' });
});

t.test('an advertisement that somebody changed', async (t) => {
  const good = JSON.parse(execFileSync('curl', ['-s', `${tang.url}/adv`], { encoding: 'utf8' }));
  const forged = { ...good, signature: `${good.signature.slice(0, -8)}AAAAAAAA` };
  const body = JSON.stringify(forged);
  const forger = await serveHttp(t, (_request, response) => {
    response.writeHead(200, { 'content-length': body.length }).end(body);
  });
  const url = `http://127.0.0.1:${forger.port}`;
  const reason = /expected a signature of key [\w-]{43}, got none that verifies/;
  fails(t, 'on the way', await seal('tang', { url, thp: tang.thp }), 5, reason);
  fails(
    t,
    'in the configuration',
    await seal('tang', { url: tang.url, adv: forged }),
    3,
    /^pin tang: adv: expected a sig/,
  );
});
