import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { hostKey } from '../support/host-key.ts';
import { run } from '../support/run.ts';
import { startTang } from '../support/tang.ts';

t.setTimeout(300_000);

const SECRET = 'a secret\nof two lines, and no newline at its end';
const tang = await startTang(t);
const config = JSON.stringify({ url: tang.url, thp: tang.thp });

/** A host with systemd-creds and our program, and a folder for files. */
function host(t: Test) {
  const { state, wrapper } = hostKey(t);
  const folder = t.testdir({ etc: {} });
  return {
    state,
    folder,
    async encrypt(name: string, ...more: string[]): Promise<string> {
      const program = [...wrapper, '/usr/bin/systemd-creds', 'encrypt', '--with-key=host', `--name=${name}`];
      const { status, stdout, stderr } = await run([...program, ...more, '-', '-'], Buffer.from(SECRET), {});
      if (status !== 0) throw new Error(stderr);
      const path = `${folder}/${name}.cred`;
      writeFileSync(path, stdout);
      return path;
    },
    decrypt: async (credential: string, name: string) =>
      (
        await run(
          [...wrapper, '/usr/bin/systemd-creds', 'decrypt', '--newline=no', `--name=${name}`, '-', '-'],
          Buffer.from(credential),
          {},
        )
      ).stdout.toString(),
    command: (args: string[], input = '') =>
      fetchLuksKey(['import-credential', ...args, '--etc', `${folder}/etc`], input, {}, wrapper),
  };
}

t.test('there and back', async (t) => {
  const { folder, encrypt, decrypt, command } = host(t);
  const path = await encrypt('tls-key');
  const there = await command([path, 'tang', config]);
  t.strictSame([there.status, there.stderr], [0, ''], 'named by its file');
  t.equal((await fetchLuksKey(['open', '-'], there.stdout)).stdout, SECRET);
  const piped = await command(['-', 'tang', config, '--name', 'tls-key'], readFileSync(path, 'utf8'));
  t.equal((await fetchLuksKey(['open', '-'], piped.stdout)).stdout, SECRET);

  const back = await command(
    ['--back', '-', '--name', 'other', '--with-key', 'host', '--not-after', '+1h'],
    there.stdout,
  );
  t.strictSame([back.status, back.stderr], [0, '']);
  t.equal(await decrypt(back.stdout, 'other'), SECRET);

  const kept = await command([path, 'tang', config, '--credential', 'nginx.service/key']);
  t.strictSame([kept.status, kept.stdout], [0, ''], kept.stderr);
  t.equal((await fetchLuksKey(['open', `${folder}/etc/credentials/nginx.service/key.jwe`])).stdout, SECRET);
  const json = await command([path, 'tang', config, '--json']);
  t.strictSame(Object.keys(JSON.parse(json.stdout)), ['sealed-key', 'pin']);
  const encrypted = await command([path, 'tang', config, '--credential', 'nginx.service/key', '--encrypted']);
  t.equal(encrypted.status, 0, encrypted.stderr);
  const inner = await fetchLuksKey(['open', `${folder}/etc/credentials.encrypted/nginx.service/key.jwe`]);
  t.equal(await decrypt(inner.stdout, 'key'), SECRET, 'under the name that its service knows');
});

t.test('what is not this host’s, or not now, is refused', async (t) => {
  const { state, folder, encrypt, command } = host(t);
  const path = await encrypt('tls-key', '--not-after=+2s');
  const tried = (...more: string[]) => command([path, 'tang', config, ...more]);
  fails(t, 'another name', await tried('--name', 'tls'), 4, /tls-key\.cred: systemd-creds: .*does not match/);
  await pause(2500);
  fails(t, 'too late', await tried(), 4, /tls-key\.cred: systemd-creds: .*time passed/);
  await encrypt('tls-key');
  rmSync(`${state}/credential.secret`);
  fails(t, 'no host key at all', await tried(), 5, /tls-key\.cred: systemd-creds: /);
  await encrypt('another');
  fails(t, 'another host', await tried(), 6, /tls-key\.cred: systemd-creds: Decryption failed/);
  writeFileSync(path, 'AAAA');
  fails(t, 'garbage', await tried(), 6, /tls-key\.cred: systemd-creds: /);
  mkdirSync(`${folder}/x.cred`);
  const cases: readonly [string[], number, RegExp][] = [
    [[`${folder}/none.cred`, 'tang', config], 2, /none\.cred: no such file/],
    [[`${folder}/x.cred`, 'tang', config], 3, /expected a file, got a folder/],
    [[path, 'tang'], 2, /expected FILE and PIN and CONFIG/],
    [[path, 'tang', '{'], 3, /CONFIG: expected JSON/],
    [[path, 'tang', config, '--encrypted'], 2, /--encrypted is of no use here/],
    [[path, 'tang', config, '--with-key', 'host'], 2, /--with-key is of no use here/],
    [['--back', path], 2, /expected --name beside it/],
    [['--back', path, '--name', 'x', '--with-key', 'null'], 2, /--with-key: expected one of host, /],
    [['--back', path, '--name', 'x'], 6, /tls-key\.cred: sealed key: expected five parts/],
  ];
  for (const [args, status, line] of cases) fails(t, args.join(' '), await command(args), status, line);
});
