import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { clevisHost } from '../support/clevis.ts';
import { startKeyServer } from '../support/key-server.ts';
import { dumpJson, type Image, makeImage, opens } from '../support/luks.ts';
import { portToKeep } from '../support/ports.ts';
import { run as runPlainly } from '../support/run.ts';

// Stock Clevis, curl and cryptsetup before the whole program. What time does is tested beside the rules.
t.setTimeout(300_000);

/** A key server with a Tang face, and a machine that has Debian's Clevis and was invited. */
async function invited(t: Test) {
  const host = clevisHost(t);
  const folder = t.testdirName;
  const port = await portToKeep();
  writeFileSync(`${folder}/tang.pem`, host.server.certificate);
  writeFileSync(`${folder}/tang.key`, host.server.key, { mode: 0o600 });
  const tang = { listen: `127.0.0.1:${port}`, certificate: `${folder}/tang.pem`, key: `${folder}/tang.key` };
  writeFileSync(`${folder}/key-server.yaml`, JSON.stringify({ tang }));
  const server = await startKeyServer(t, '--config', `${folder}/key-server.yaml`);
  const origin = `https://127.0.0.1:${port}`;
  const { status, stdout, stderr } = await server.command(
    ...['invite', 'nas', '--url', origin, '--tang', '--from', '127.0.0.1'],
  );
  t.equal(status, 0, stderr);
  const [, url = '', thp = '', alive = ''] =
    /^url {4}(\S+)\nthp {4}([\w-]{43})\nalive {2}([\w-]{43})\n$/.exec(stdout) ?? [];
  t.match(url, new RegExp(`^${origin}/t/[\\w-]{22}$`));
  return { ...host, server, folder, origin, url, thp, alive };
}

type Machine = Awaited<ReturnType<typeof invited>>;

/** What `clevis luks unlock` does before it hands the passphrase to the device mapper. */
async function unlocks({ path }: Image, run: Machine['run']): Promise<boolean> {
  const { status, stdout } = await run(['clevis', 'luks', 'pass', '-d', path, '-s', '1']);
  return status === 0 && opens(path, stdout);
}

t.test('a volume that stock Clevis has bound, from invite to revoke', async (t) => {
  const machine = await invited(t);
  const { server, run, elsewhere, folder, url, thp, alive } = machine;
  const image = makeImage(folder, 'data.luks');
  const bind = ['clevis', 'luks', 'bind', '-y', '-d', image.path, '-k', image.keyFile, 'tang'];
  const bound = await run([...bind, JSON.stringify({ url, thp })]);
  t.equal(bound.status, 0, bound.stderr);
  t.ok(await unlocks(image, run));
  t.notOk(await unlocks(image, elsewhere), 'from another address');

  writeFileSync(`${folder}/alive`, `${alive}\n`, { mode: 0o600 });
  writeFileSync(`${folder}/wrong`, `${'A'.repeat(43)}\n`);
  t.match(await machine.sendAlive(url, `${folder}/alive`), {
    status: 0,
    stdout: /^{"lease-left-ms":900000}\n$/,
  });
  t.match(await machine.sendAlive(url, `${folder}/wrong`), { status: 22, stderr: /404/ });

  await server.stop('SIGKILL');
  t.notOk(await unlocks(image, run), 'the server is away');
  await server.start();
  t.ok(await unlocks(image, run), 'it has forgotten nothing');

  t.match(await server.command('lock', 'nas'), { status: 0, stdout: /^nas +locked \(operator\)/ });
  t.notOk(await unlocks(image, run), 'locked');
  t.match(await machine.sendAlive(url, `${folder}/alive`), { status: 22, stderr: /403/ });
  t.match(await server.command('allow', 'nas'), { status: 0, stdout: /^nas +armed +1[45]m left/ });
  t.ok(await unlocks(image, run), 'allowed');
  t.match(
    (await server.command('show', 'nas')).stdout,
    /a Tang client, at \/t\/[\w-]{22}\n.*boot-grace 0s\n/s,
  );

  t.match(await server.command('revoke', 'nas', '--yes'), { status: 0, stdout: /^nas +revoked/ });
  t.notOk(await unlocks(image, run), 'revoked');
  t.match(await server.command('audit', 'verify'), { status: 0 });
  const audit = (await server.command('audit', 'show')).stdout;
  t.match(
    audit,
    /recover nas from 127\.0\.0\.2: not-allowed-from\n.*recover nas from 127\.0\.0\.1: locked\n/s,
  );

  const header = JSON.stringify(dumpJson(image.path));
  const bytes = ['keys.db', 'keys.db-wal'].map((name) =>
    readFileSync(`${server.state}/${name}`).toString('latin1'),
  );
  for (const text of [header, ...bytes, ...server.journal]) {
    if (text.includes(alive)) t.fail(`the secret is in ${text.slice(0, 100)}`);
  }
});

t.test('clevis encrypt, clevis decrypt: only over a connection that the host trusts', async (t) => {
  const { run, url } = await invited(t);
  const encrypt = ['clevis', 'encrypt', 'tang', JSON.stringify({ url }), '-y'];
  const sealed = await run(encrypt, 'a secret');
  t.equal(sealed.status, 0, sealed.stderr);
  t.match(await run(['clevis', 'decrypt'], sealed.stdout), { status: 0, stdout: Buffer.from('a secret') });
  const without = await runPlainly(encrypt, Buffer.from('a secret'), {});
  t.match(
    without,
    { status: 1, stderr: /Unable to fetch advertisement/ },
    'an authority that it does not know',
  );
});

t.test('what does not become a Tang face', async (t) => {
  const { server, folder, origin } = await invited(t);
  const invite = async (...args: string[]) => {
    const { status, stderr } = await server.command('invite', 'other', '--url', origin, '--tang', ...args);
    t.equal(status, 2, args.join(' '));
    return stderr;
  };
  t.match(await invite(), /^luks-key-server: a Tang client .* needs --from \(hint: /);
  for (const option of [['--boot-grace', '5m'], ['--self-expect', 'reboot'], ['--rejoin']]) {
    t.match(
      await invite('--from', '127.0.0.1', ...option),
      /^luks-key-server: invite: --[\w-]+: not with --tang\n$/,
    );
  }
  t.equal(await server.stop(), 0);
  chmodSync(`${folder}/tang.key`, 0o644);
  await t.rejects(server.start(), /ended with 3: .*tang\.key: everybody can read or write it/s);
  chmodSync(`${folder}/tang.key`, 0o600);
  writeFileSync(`${folder}/tang.pem`, 'no certificate');
  await t.rejects(server.start(), /ended with 3: .*certificate and key: /s);
});
