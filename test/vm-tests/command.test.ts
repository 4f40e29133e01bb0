import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { type CommandOptions, command, HarnessError } from '../../vm-tests/harness/command.ts';
import { processesWith } from '../support/processes.ts';

const folder = t.testdir();
const options = (more: Partial<CommandOptions> = {}): CommandOptions => ({
  step: 'forky: a step',
  log: `${folder}/log`,
  timeoutMs: 10_000,
  ...more,
});

async function faultOf(run: Promise<number>): Promise<HarnessError> {
  const thrown: unknown = await run.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (thrown instanceof HarnessError) return thrown;
  throw new Error('expected a HarnessError', { cause: thrown });
}

t.test('a missing tool: which, in which step', async (t) => {
  const fault = await faultOf(command(['no-such-tool'], options()));
  t.match(fault.message, /forky: a step: no-such-tool: .*ENOENT.*\(log: .*\/log\)/s);
  t.equal(fault.log, `${folder}/log`);
});

t.test('a failure shows the end of what was printed; the log has all of it', async (t) => {
  const log = `${folder}/long`;
  const script = 'seq 10000; echo the reason >&2; exit 7';
  const fault = await faultOf(command(['sh', '-c', script], options({ log })));
  t.match(fault.message, /sh: exit status 7; it printed:\n.*\nthe reason\n/s);
  t.ok(fault.message.length < 3000);
  t.match(readFileSync(log, 'utf8'), /^1\n2\n/);
});

t.test('out of time: it ends, with all that it started', async (t) => {
  const marker = `BOOT_TEST_MARKER=${process.pid}`;
  const environment = { BOOT_TEST_MARKER: String(process.pid) };
  const script = `sleep 1000 & sleep 1000; touch ${folder}/went-on`;
  const fault = await faultOf(command(['sh', '-c', script], options({ timeoutMs: 500, environment })));
  t.match(fault.message, /sh: still running after 0.5 s/);
  t.strictSame(processesWith(marker), []);
  t.notOk(existsSync(`${folder}/went-on`));
});

t.test('exit statuses that are no failure', async (t) => {
  t.equal(await command(['sh', '-c', 'exit 3'], options({ accept: [0, 3] })), 3);
});
