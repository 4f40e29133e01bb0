import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { machine, until } from '../support/keepalive-machine.ts';
import { startKeyServer } from '../support/key-server.ts';
import { ownParsec } from '../support/parsec.ts';
import { NO_TPM } from '../support/protection.ts';
import { setStage } from '../support/stage.ts';
import { ownFolder, ownSwtpm } from '../support/tpm.ts';

t.setTimeout(300_000);

const KEY = Buffer.from('opened by a server that knows this machine');

function machineWith(etc: string, environment: Record<string, string>) {
  const run = (args: readonly string[], input: string | Buffer = '') =>
    fetchLuksKey([...args, '--etc', etc], input, environment);
  return {
    run,
    join: (line: string, ...options: string[]) => run(['join', '--name', 'home', '--json', ...options], line),
    async protection() {
      const { stdout } = await run(['status', '--json', '--crypttab', '/nowhere']);
      const [server] = (JSON.parse(stdout) as { servers: Record<string, unknown>[] }).servers;
      return { by: server?.['identity-protection'], 'protected-with-tpm': server?.['protected-with-tpm'] };
    },
  };
}

t.test(
  'the TPM is replaced: nothing is overwritten, and the operator lets the machine in again',
  async (t) => {
    const server = await startKeyServer(t);
    const [before, after] = await Promise.all([ownSwtpm(t), ownSwtpm(t)]);
    const stage = await setStage(t, { environment: { TPM2TOOLS_TCTI: after.tcti } });
    const path = `${stage.etc}/identity/home`;
    const old = machineWith(stage.etc, { TPM2TOOLS_TCTI: before.tcti });
    const joined = await old.join(await server.invite('nas'));
    t.equal(joined.stderr, '');
    t.match(JSON.parse(joined.stdout), { 'protected-with-tpm': true });
    t.strictSame(await old.protection(), { by: 'tpm2', 'protected-with-tpm': true });
    const sealed = await old.run(['seal', 'remote', '{"server":"home"}'], KEY);
    stage.put('data', sealed.stdout);
    const kept = readFileSync(path);

    await stage.shows(t, 'another TPM', 'data', {
      status: 6,
      line: /^data: .*identity\/home: .*\(hint: the TPM, or what Parsec has, is another one: .*--rejoin\)$/,
    });
    const now = machineWith(stage.etc, { TPM2TOOLS_TCTI: after.tcti });
    fails(
      t,
      'no other key beside it',
      await now.join(await server.invite('new')),
      2,
      /^join: there is a server home already/,
    );
    const shown = await now.run(['status', '--crypttab', '/nowhere']);
    t.match(shown.stdout, /^ {2}machine {6}not known: .* \(hint: .*--rejoin\)$/m);
    const line = await server.invite('nas', '--rejoin');
    fails(t, 'only where it is asked for', await now.join(line), 2, /--rejoin if the TPM is another one/);
    const other = await startKeyServer(t);
    const elsewhere = await now.join(await other.invite('nas'), '--rejoin');
    fails(
      t,
      'another server',
      elsewhere,
      2,
      /^join: --rejoin: the invitation is of another server than home/,
    );
    t.strictSame(readFileSync(path), kept, 'nothing was overwritten');

    const again = await now.join(line, '--rejoin');
    const { fingerprint, status } = JSON.parse(again.stdout);
    t.equal(status, 'locked');
    fails(t, 'once', await now.join(line, '--rejoin'), 4, /the server does not take this invitation/);
    t.strictSame(await now.protection(), { by: 'tpm2', 'protected-with-tpm': true });
    t.equal((await server.command('allow', 'nas', '--fingerprint', fingerprint)).status, 0);
    await stage.shows(t, 'in again', 'data', { status: 0, line: /opened by remote home/, gets: KEY });
  },
);

t.test('Parsec first, where it has a TPM', async (t) => {
  const server = await startKeyServer(t);
  const { tcti } = await ownSwtpm(t);
  const { environment } = await ownParsec(t, [{ tcti }]);
  const stage = await setStage(t, { environment });
  const { join, run, protection } = machineWith(stage.etc, environment);
  t.equal((await join(await server.invite('nas'))).stderr, '');
  t.strictSame(await protection(), { by: 'parsec tpm', 'protected-with-tpm': true });
  stage.put('data', (await run(['seal', 'remote', '{"server":"home"}'], KEY)).stdout);
  await stage.shows(t, 'opened', 'data', { status: 0, line: /opened by remote home/, gets: KEY });
});

t.test('nothing protects: best effort warns, `require` refuses, `never` says nothing', async (t) => {
  const server = await startKeyServer(t);
  const line = await server.invite('nas');
  const etc = ownFolder(t);
  const { join, protection } = machineWith(etc, { TPM2TOOLS_TCTI: NO_TPM });
  const configure = (text: string) => writeFileSync(`${etc}/config.yaml`, text);
  configure('protect-with-tpm: require\n');
  fails(
    t,
    'require',
    await join(line),
    4,
    /^nothing protects what would be kept: tpm2: no TPM at .*\(hint: config\.yaml has protect-with-tpm: require\)$/,
  );
  t.notOk(existsSync(`${etc}/identity`), 'nothing is left behind, and the invitation is good still');

  configure('protect-with-tpm: never\n');
  const never = await join(line);
  t.strictSame([never.status, never.stderr], [0, '']);
  t.strictSame(await protection(), { by: 'none', 'protected-with-tpm': false });
  t.match(readFileSync(`${etc}/config.yaml`, 'utf8'), /^protect-with-tpm: never\nservers:/);

  const other = machineWith(ownFolder(t), { TPM2TOOLS_TCTI: NO_TPM });
  const best = await other.join(await server.invite('nas2'));
  t.match(best.stderr, /^warning: this machine's key is kept as it is, for root alone: tpm2: no TPM at/);
  t.match(JSON.parse(best.stdout), { 'protected-with-tpm': false });
});

t.test('a running machine that should be protected tells its journal and its server', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server);
  const file = `${nas.own}/config.yaml`;
  writeFileSync(file, `protect-with-tpm: require\n${readFileSync(file, 'utf8')}`);
  const { lines } = nas.keepalive();
  const claim = /machine claim nas from 127\.0\.0\.1: tpm-protection-unavailable/;
  await until('the server knows', async () => claim.test((await server.command('audit', 'show')).stdout));
  t.match(
    lines.find((line) => line.includes('alert')),
    /^<3>home: major alert: tpm-protection-unavailable: [\w.-]+: \S+\/identity\/home is protected by nothing; it /,
  );
});
