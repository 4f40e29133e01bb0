import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import t from 'tap';
import { run } from '../support/run.ts';

/** `npm run vm-tests` where it cannot do its work: it says at which step, where the log is, and is never green. */

const RUN = resolve(import.meta.dirname, '../../vm-tests/run.ts');
/** The package is not what is asked here: no build of it. */
const PACKAGE = ['--package', '/dev/null'];

async function vmTests(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  wrapper: readonly string[] = [],
) {
  const command = [...wrapper, process.execPath, '--no-warnings', RUN, ...PACKAGE, ...args];
  const { status, stderr } = await run(command, Buffer.alloc(0), environment);
  return { status, stderr };
}

/** A mount namespace of its own, in which `script` has run. */
const privately = (script: string) => ['unshare', '--mount', 'sh', '-euc', `${script}\nexec "$@"`, 'sh'];

t.test('wrong arguments', async (t) => {
  const message = async (...args: string[]) => {
    const { status, stderr } = await vmTests(args);
    t.equal(status, 2);
    return stderr;
  };
  t.equal(
    await message('--suite', 'sarge'),
    'vm-tests: --suite: expected one of bookworm, trixie, forky, got sarge\n',
  );
  t.equal(
    await message('--tier', 'moon'),
    'vm-tests: --tier: expected one of container, machine, got moon\n',
  );
  t.match(
    await message('--only', 'machine-tpm2', '--only', 'nothing-like-it'),
    /--only nothing-like-it: no file of vm-tests\/\*\.test\.ts/,
  );
  t.match(await message('--fast'), /--fast/);
});

t.test('no disk space', async (t) => {
  const small = join(t.testdir({ small: {} }), 'small');
  const wrapper = privately(`mount -t tmpfs -o size=1m tmpfs '${small}'`);
  const results = join(dirname(small), 'results');
  const environment = { XDG_CACHE_HOME: small, VM_TESTS_RESULTS: results };
  const { status, stderr } = await vmTests(['--suite', 'trixie'], environment, wrapper);
  t.equal(status, 1);
  t.notOk(existsSync(results), 'what the caller’s environment says is no option of the run');
  t.match(stderr, /build of base-trixie: no disk space: expected \d+ MB free in .*, got [01] MB/);
});

t.test('a missing tool', async (t) => {
  const folder = t.testdir({ over: {}, cache: {} });
  const wrapper = privately(`mount -t tmpfs tmpfs '${folder}/over'
mkdir '${folder}/over/upper' '${folder}/over/work'
mount -t overlay -o 'lowerdir=/usr/bin,upperdir=${folder}/over/upper,workdir=${folder}/over/work' overlay /usr/bin
rm -f /usr/bin/mmdebstrap`);
  const apt = fakeApt(folder, 'http://127.0.0.1:1/debian');
  const environment = { XDG_CACHE_HOME: join(folder, 'cache'), PATH: apt };
  const { status, stderr } = await vmTests(['--suite', 'trixie'], environment, wrapper);
  t.equal(status, 1);
  t.match(stderr, /trixie: base system of \d+ packages: mmdebstrap: .*ENOENT/);
});

t.test('a download that breaks off', async (t) => {
  let asked = 0;
  const server = createServer((_, answer) => {
    asked++;
    answer.writeHead(200, { 'content-length': 1_000_000 });
    answer.write('half of it', () => answer.destroy());
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const folder = t.testdir({ cache: {} });
  const PATH = fakeApt(folder, `http://127.0.0.1:${port}/debian`);
  const XDG_CACHE_HOME = join(folder, 'cache');
  const { status, stderr } = await vmTests(['--suite', 'trixie'], { PATH, XDG_CACHE_HOME });
  t.equal(status, 1);
  t.ok(asked > 0, 'the mirror was asked');
  t.match(stderr, /trixie: base system of \d+ packages: mmdebstrap: exit status \d+; it printed:/);
  t.match(stderr, /\(log: .*base-trixie.*\.log\)/);
  const left = readdirSync(join(XDG_CACHE_HOME, 'fetch-luks-key-vm-tests'));
  t.strictSame(
    left.filter((name) => /^base-trixie-\w+$/.test(name)),
    [],
    'nothing passes for the base system',
  );
});

/** An apt-get that names another mirror, for the harness alone. */
function fakeApt(folder: string, mirror: string): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'apt-get'), `#!/bin/sh\necho ${mirror}\n`, { mode: 0o755 });
  return `${bin}:/usr/sbin:/usr/bin:/sbin:/bin`;
}
