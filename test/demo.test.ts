import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import t, { type Test } from 'tap';

interface Ending {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Demo {
  readonly child: ChildProcess;
  /** Resolves once standard output holds `text`, or the demo has ended without. */
  readonly says: (text: string) => Promise<void>;
  readonly ended: Promise<Ending>;
  /** What is left of it: files in its folder for temporary ones, command lines of processes that name this folder. */
  readonly leftovers: () => string[];
}

/** @param scripts take the place of tools: name → what /bin/sh runs */
function startDemo(t: Test, scripts: Readonly<Record<string, string>> = {}): Demo {
  // Not t.testdir(): a socket's path has at most 107 bytes (unix(7)).
  const folder = mkdtempSync(`${tmpdir()}/demo-`);
  t.teardown(() => rmSync(folder, { recursive: true }));
  mkdirSync(`${folder}/bin`);
  mkdirSync(`${folder}/tmp`);
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(`${folder}/bin/${name}`, `#!/bin/sh\n${script}\n`);
    chmodSync(`${folder}/bin/${name}`, 0o755);
  }
  const env = { ...process.env, TMPDIR: `${folder}/tmp`, PATH: `${folder}/bin:${process.env.PATH}` };
  const demo = resolve(import.meta.dirname, 'demo.ts');
  const child = spawn(process.execPath, ['--no-warnings', demo], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  let onOutput = () => {};
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    onOutput();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Ending>((done) => {
    child.once('close', (status) => done({ status, stdout, stderr }));
  });
  t.teardown(async () => {
    child.kill();
    await ended;
  });
  return {
    child,
    ended,
    says: (text) => {
      const { promise, resolve: said } = Promise.withResolvers<void>();
      onOutput = () => {
        if (stdout.includes(text)) said();
      };
      onOutput();
      return Promise.race([promise, ended.then(() => {})]);
    },
    leftovers: () => [
      ...readdirSync(`${folder}/tmp`),
      ...commandLines().filter((line) => line.includes(folder)),
    ],
  };
}

/** Of all processes, arguments separated by spaces; one that ends meanwhile has none. */
function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    });
}

t.test('every step does what it says, and nothing is left', async (t) => {
  const demo = startDemo(t);
  const { status, stdout, stderr } = await demo.ended;
  t.same({ status, stderr }, { status: 0, stderr: '' });
  for (const line of [
    /^ {3}\$ printf %s "\$key" \|$/m,
    /^ {5}data: answered, 88 bytes in \d+ ms$/m,
    /^ {5}journal: <6>data: key delivered, opened by .*tpm2.* in \d+ ms$/m,
    /^ {5}journal: <4>data: .*PCR 7 .*$/m,
    /^ {5}No key available with this passphrase\.$/m,
    /^ {5}journal: <3>data: .*connection refused \(gave up after \d+ tries in .* s\)$/m,
    /^ {5}\.\.\. 1 s: no Tang server yet/m,
    /the key was there \d+ ms after/,
    /^ {5}journal: <4>data: .*remote home: this machine is revoked /m,
    /operator revoke nas: revoked$/m,
    /^Every step did what it says, /m,
    /^Next:\n( {2}\S.*\n){3}$/m,
  ]) {
    t.match(stdout, line);
  }
  t.equal(stdout.match(/^ {3}ok, \d+ ms$/gm)?.length, 12, 'each step with its milliseconds');
  t.equal(stdout.match(/^ {5}the key opens data\.img$/gm)?.length, 5);
  t.notMatch(stdout, '\u001b', 'no colours where there is no terminal');
  t.same(demo.leftovers(), []);
});

t.test('a disk that opens with any key is noticed', async (t) => {
  const demo = startDemo(t, {
    cryptsetup:
      'case " $* " in *" --test-passphrase "*) cat >/dev/null;; *) exec /usr/sbin/cryptsetup "$@";; esac',
  });
  const { status, stdout, stderr } = await demo.ended;
  t.equal(status, 1);
  t.match(stderr, /^\ndemo: step 5 \(.*\): expected cryptsetup's exit status 2, got 0\n$/);
  t.notMatch(stdout, 'Every step');
  t.same(demo.leftovers(), []);
});

t.test('a tool that fails ends it with one clear line', async (t) => {
  const demo = startDemo(t, { 'systemd-socket-activate': 'exit 127' });
  const { status, stderr } = await demo.ended;
  t.equal(status, 1);
  t.match(stderr, /^\ndemo: step 3 \(.*\): systemd-socket-activate ended with 127\n$/);
  t.same(demo.leftovers(), []);
});

t.test('interrupted while a request waits, it takes everything along', async (t) => {
  const demo = startDemo(t);
  await demo.says('no Tang server yet');
  t.not(demo.leftovers().length, 0, 'what there is can be seen');
  demo.child.kill('SIGINT');
  const { status, stderr } = await demo.ended;
  t.same({ status, stderr }, { status: 130, stderr: '\ndemo: stopped\n' });
  t.same(demo.leftovers(), []);
});
