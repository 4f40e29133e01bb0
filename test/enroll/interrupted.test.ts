import { readdirSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { atTerminal, fetchLuksKey } from '../support/command-line.ts';
import { BY_STDIN, type Machine, machineWith, takesSocket } from '../support/enrolled.ts';
import { withKeyFile } from '../support/foreign-keys.ts';
import { startKeyServer } from '../support/key-server.ts';
import { PASSPHRASE } from '../support/luks.ts';
import { startTang } from '../support/tang.ts';
import { ownSwtpm } from '../support/tpm.ts';

t.setTimeout(600_000);

const tang = await startTang(t);
const TANG = `--tang ${tang.url}`;

/** What may not change. */
function everything({ image, crypttab, etc }: Machine): string {
  const left = readdirSync(etc, { recursive: true, withFileTypes: true });
  const files = left.filter((entry) => entry.isFile()).map(({ name }) => name);
  return JSON.stringify([readFileSync(image.path, 'latin1'), readFileSync(crypttab, 'latin1'), files]);
}

/** A question, and what is typed; Ctrl-C at the last. */
type Talk = readonly [...(readonly [question: string, answer: string])[], string];

async function interrupt(
  t: Test,
  machine: Machine,
  command: string,
  talk: Talk,
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const before = everything(machine);
  const places = `--etc ${machine.etc} --crypttab ${machine.crypttab}`;
  const socket = takesSocket(command.split(' ')[0] ?? '') ? `--socket ${machine.path}` : '';
  const line = `trap : INT; $FETCH_LUKS_KEY ${command} ${places} ${socket}`;
  const terminal = atTerminal(t, '/', line, environment);
  const last = talk.at(-1) as string;
  for (const [question, answer] of talk.slice(0, -1) as [string, string][]) {
    await terminal.shows(question);
    terminal.press(`${answer}\n`);
  }
  await terminal.shows(last);
  terminal.press('\x03');
  const { status, screen } = await terminal.ended;
  const title = `${command}: ${last}`;
  t.equal(status, 5, `${title}: ${screen}`);
  t.match(screen, /\nfetch-luks-key: (?:.*: )?stopped before/, title);
  t.notMatch(screen, PASSPHRASE, `${title}: not shown`);
  t.ok(everything(machine) === before, `${title}: all is as it was`);
}

t.test('enroll', async (t) => {
  const tpm = await ownSwtpm(t);
  const environment = { TPM2TOOLS_TCTI: tpm.tcti };
  const machine = await machineWith(t, environment);
  const passphrase = ['Passphrase of', PASSPHRASE] as const;
  await interrupt(t, machine, `enroll data ${TANG}`, ['Passphrase of'], environment);
  await interrupt(t, machine, `enroll data ${TANG}`, [passphrase, 'Trust them? [yN]'], environment);
  await interrupt(t, machine, 'enroll data', ['Enroll so? [yN]'], environment);
  const withPin = 'enroll data --tpm2 --tpm2-pin';
  await interrupt(t, machine, withPin, [passphrase, 'New PIN for the TPM:'], environment);
  await interrupt(t, machine, withPin, [passphrase, ['New PIN for the TPM:', '1234'], 'Again:'], environment);
});

t.test('a proposal that needs a server, without a recovery key', async (t) => {
  const server = await startKeyServer(t);
  const machine = await machineWith(t);
  const args = ['join', '--name', 'home', '--etc', machine.etc];
  t.equal((await fetchLuksKey(args, await server.invite('nas'))).status, 0);
  await interrupt(t, machine, 'enroll data', ['Enroll so, without a recovery key? [yN]']);
});

t.test('backup and recovery-key', async (t) => {
  const machine = await machineWith(t);
  const folder = t.testdir({});
  const backup = `backup data ${folder}/data.backup`;
  await interrupt(t, machine, backup, ['Passphrase of the backup:']);
  await interrupt(t, machine, backup, [['Passphrase of the backup:', 'a long one'], 'Again:']);
  t.strictSame(readdirSync(folder), []);
  await interrupt(t, machine, 'recovery-key data', ['Passphrase of']);
});

t.test('adopt', async (t) => {
  const machine = await machineWith(t);
  withKeyFile(t, machine);
  await interrupt(t, machine, `adopt data ${TANG}`, ['Trust them? [yN]']);
});

t.test('rotate, reseal and unenroll, while nothing opens it by itself', async (t) => {
  const own = await startTang(t);
  const machine = await machineWith(t);
  const done = await machine.command('enroll', ['--tang', own.url, '-y', ...BY_STDIN]);
  t.equal(done.status, 0, done.stderr);
  await own.stop();
  for (const command of ['rotate', 'reseal', 'unenroll']) {
    await interrupt(t, machine, `${command} data`, ['Passphrase of']);
  }
});
