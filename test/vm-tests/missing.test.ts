import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { mirror } from '../../vm-tests/harness/base.ts';
import { HarnessError } from '../../vm-tests/harness/command.ts';
import { startEmulatedTpm } from '../../vm-tests/harness/machine-tpm.ts';
import { fileSystem, makeVolume } from '../../vm-tests/harness/machine-volume.ts';
import { processesWith } from '../support/processes.ts';
import { run } from '../support/run.ts';

/** A machine that lacks something: which step needs it, and of what. */

const HARNESS = resolve(import.meta.dirname, '../../vm-tests/harness');

async function faultOf(work: () => unknown): Promise<HarnessError> {
  try {
    await work();
  } catch (thrown) {
    if (thrown instanceof HarnessError) return thrown;
    throw new Error('expected a HarnessError', { cause: thrown });
  }
  throw new Error('expected a HarnessError, got none');
}

t.test('tools that are missing', async (t) => {
  const folder = t.testdir({ bin: {}, state: {} });
  const { PATH } = process.env;
  process.env['PATH'] = join(folder, 'bin');
  t.teardown(() => {
    process.env['PATH'] = PATH;
  });
  for (const [message, work] of [
    [
      /^making the volume .*\/x\.luks: cryptsetup: .*ENOENT/,
      () => makeVolume(`${folder}/x.luks`, Buffer.alloc(4096)),
    ],
    [/^making the file system .*: mke2fs: .*ENOENT/, () => fileSystem(folder, 8)],
    [/^search for a Debian mirror: apt-get: .*ENOENT/, () => mirror()],
    [
      /^a scenario on forky: swtpm: .*ENOENT.*\(log: .*\/swtpm\.log\)/,
      () => startEmulatedTpm('a scenario on forky', folder, join(folder, 'state')),
    ],
  ] as const) {
    t.match((await faultOf(work)).message, message);
  }
});

t.test('a TPM that does not start leaves no process', async (t) => {
  const folder = t.testdir({});
  const state = join(folder, 'no-such-folder');
  const fault = await faultOf(() => startEmulatedTpm('a step', folder, state));
  t.match(fault.message, /^a step: swtpm: expected an answer on its socket/);
  t.strictSame(processesWith(state), []);
});

t.test('no disk space for what a boot writes', async (t) => {
  for (const [file, boot, tier] of [
    ['container.ts', 'bootContainer', 'container'],
    ['machine.ts', 'bootMachine', 'machine'],
  ] as const) {
    const small = t.testdir();
    mkdirSync(small, { recursive: true });
    const script = `import { ${boot} } from '${HARNESS}/${file}';
import { plainGuest } from '${HARNESS}/guest.ts';
const fault = await ${boot}('forky', plainGuest, { scenario: 'one', folder: '${small}' }).catch((thrown) => thrown);
process.stdout.write(fault.message);`;
    const mount = `mount -t tmpfs -o size=1m tmpfs '${small}'\nexec "$@"`;
    const node = [process.execPath, '--no-warnings', '--input-type=module', '--eval', script];
    const { stdout } = await run(
      ['unshare', '--mount', 'sh', '-euc', mount, 'sh', ...node],
      Buffer.alloc(0),
      {},
    );
    const fault = new RegExp(
      `^one on forky \\(${tier}\\): no disk space: expected \\d+ MB free in .*, got [01] MB$`,
    );
    t.match(String(stdout), fault);
  }
});
