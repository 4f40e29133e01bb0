import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, globSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';

t.setTimeout(120_000);

const root = resolve(import.meta.dirname, '../..');

/** A journal of the test's own (systemd-journald.service(8), journal namespaces). */
async function startJournal(t: Test) {
  const name = `test${randomBytes(6).toString('hex')}`;
  const child = spawn('/usr/lib/systemd/systemd-journald', [name], { stdio: 'ignore' });
  t.teardown(async () => {
    const ended = new Promise((done) => child.once('exit', done));
    child.kill();
    await ended;
    const stored = globSync(`/{run,var}/log/journal/*.${name}`);
    for (const path of [...stored, `/run/systemd/journal.${name}`])
      rmSync(path, { recursive: true, force: true });
  });
  const socket = `/run/systemd/journal.${name}/socket`;
  while (!existsSync(socket)) await pause(10);
  return {
    socket,
    async find(match: string): Promise<Record<string, string>> {
      for (;;) {
        const args = [`--namespace=${name}`, '-o', 'json', match];
        const { stdout } = spawnSync('journalctl', args, { encoding: 'utf8' });
        if (stdout.startsWith('{')) return JSON.parse(stdout);
        await pause(50);
      }
    },
  };
}

/** @returns what a program writes to standard error that tells one line with fields */
function tell(line: string, fields: object, socket: string, stream: 'its own' | 'another'): string {
  const program = `
    import { fstatSync } from 'node:fs';
    import { fieldJournal } from ${JSON.stringify(`${root}/src/os/journal-fields.ts`)};
    const { dev, ino } = fstatSync(2);
    const environment = { JOURNAL_STREAM: ${stream === 'its own'} ? dev + ':' + ino : '1:1' };
    const journal = fieldJournal(environment, 'luks-key-server', ${JSON.stringify(socket)});
    journal.warning(${JSON.stringify(line)}, ${JSON.stringify(fields)});`;
  const args = ['--no-warnings', '--input-type=module', '-e', program];
  return spawnSync(process.execPath, args, { encoding: 'utf8' }).stderr;
}

t.test('journald finds a line by its fields', async (t) => {
  const { socket, find } = await startJournal(t);
  const fields = { LUKS_ALERT: 'locked', LUKS_MACHINE: 'nas', LUKS_TEXT: 'two\nlines=here' };
  t.equal(tell('alert locked: nas\nPRIORITY=0', fields, socket, 'its own'), '');
  t.match(await find('LUKS_ALERT=locked'), {
    ...fields,
    MESSAGE: 'alert locked: nas PRIORITY=0',
    PRIORITY: '4',
    SYSLOG_IDENTIFIER: 'luks-key-server',
  });
});

t.test('where there is no journal, the line alone is written', async (t) => {
  const { socket } = await startJournal(t);
  t.equal(tell('to a file', { LUKS_ALERT: 'locked' }, socket, 'another'), '<4>to a file\n');
  t.equal(tell('to nobody', { LUKS_ALERT: 'locked' }, '/run/no-such-socket', 'its own'), '<4>to nobody\n');
});
