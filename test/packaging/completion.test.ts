import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import t from 'tap';
import { pinNames } from '../../src/pins/pin.ts';
import { fetchLuksKey } from '../support/command-line.ts';
import { commandsOf, optionsOf } from './help.ts';
import { completion, shellsFor } from './shells.ts';

// Three shells, each started for every question.
t.setTimeout(300_000);

const ran = `${t.testdirName}/ran`;

/** Its last name is a command for a shell that takes it for a part of a script. */
const etc = t.testdir({
  crypttab: `# name device key options
data  UUID=1  /run/fetch-luks-key/default.sock  luks

  backup-2 /dev/sdb /run/fetch-luks-key/default.sock luks,_netdev
$(>${ran}) /dev/sdc none
`,
});

/** Runs a program that finds our crypttab in /etc. */
function withCrypttab(...command: string[]): string[] {
  const script = 'mount -t overlay overlay -o "lowerdir=$1:/etc" /etc; shift; exec "$@"';
  const args = ['--mount', '--propagation=private', 'sh', '-euc', script, 'sh', etc, ...command];
  return execFileSync('unshare', args, { encoding: 'utf8' }).split('\n').slice(0, -1);
}

for (const [shell, offers] of Object.entries(shellsFor('fetch-luks-key', withCrypttab))) {
  t.test(`${shell} completes`, async (t) => {
    const commands = commandsOf((await fetchLuksKey(['--help'])).stdout);
    t.ok(commands.length > 4, 'there are commands');

    await t.test('commands', async (t) => {
      const offered = offers('');
      for (const command of commands) t.ok(offered.includes(command), command);
      t.strictSame(offers('req'), ['request']);
      for (const option of ['--help', '--version']) t.ok(offers('--').includes(option), option);
    });

    await t.test('all options of each command and no others', async (t) => {
      for (const command of commands) {
        const { stdout } = await fetchLuksKey([command, '--help']);
        const offered = offers(command, '--').filter((word) => word.startsWith('--'));
        t.strictSame(offered.toSorted(), [...optionsOf(stdout), '--help'].toSorted(), command);
      }
    });

    await t.test('pins', async (t) => t.strictSame(offers('seal', '').toSorted(), pinNames.toSorted()));

    await t.test('paths', async (t) => {
      const [only, ...others] = offers('open', `${completion}/fetch-luks-key.b`);
      t.match(only, /fetch-luks-key\.bash$/);
      t.strictSame(others, []);
    });

    await t.test('the volumes of crypttab', async (t) => {
      const offered = offers('request', '').toSorted();
      t.strictSame(offered.slice(1), ['backup-2', 'data']);
      t.match(offered[0], '/ran', 'and what looks like a command');
      t.notOk(existsSync(ran), 'which is not run');
      t.strictSame(offers('request', 'ba'), ['backup-2']);
    });
  });
}
