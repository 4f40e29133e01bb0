import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import t from 'tap';
import { KEY_SERVER } from '../support/key-server.ts';
import { run } from '../support/run.ts';
import { commandsOf, optionsOf } from './help.ts';
import { shellsFor } from './shells.ts';

// Three shells, each started for every question.
t.setTimeout(300_000);

const help = async (...args: string[]) =>
  (await run([...KEY_SERVER, ...args, '--help'], Buffer.alloc(0), {})).stdout.toString();
/** A server with one machine. */
const bin = t.testdir({
  'luks-key-server': `#!/bin/sh\necho '{"machines":[{"name":"nas","status":"armed"}]}'\n`,
});
execFileSync('chmod', ['755', `${bin}/luks-key-server`]);
const lines = (program = '', ...args: string[]) =>
  execFileSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${resolve(bin)}:${process.env['PATH']}` },
  })
    .split('\n')
    .slice(0, -1);

for (const [shell, offers] of Object.entries(shellsFor('luks-key-server', lines))) {
  t.test(`${shell} completes`, async (t) => {
    const commands = commandsOf(await help());
    t.ok(commands.length > 12, 'there are commands');
    const offered = offers('');
    for (const command of commands) t.ok(offered.includes(command), command);
    for (const command of commands) {
      const options = offers(command, '--').filter((word) => word.startsWith('--'));
      t.strictSame(options.toSorted(), [...optionsOf(await help(command)), '--help'].toSorted(), command);
    }
    t.strictSame(offers('lock', ''), ['nas'], 'machines');
    t.strictSame(offers('audit', 've'), ['verify']);
    t.strictSame(offers('invite', '--approval', 'm'), ['manual']);
  });
}
