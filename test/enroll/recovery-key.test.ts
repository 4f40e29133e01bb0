import { execFileSync } from 'node:child_process';
import t from 'tap';
import { atTerminal } from '../support/command-line.ts';
import { BY_STDIN, machineWith } from '../support/enrolled.ts';
import { addToken, dumpJson, opens, PASSPHRASE } from '../support/luks.ts';

t.setTimeout(300_000);

const KEY = /^([cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}$/m;

t.test('a key that opens the volume, and that systemd knows as a recovery key', async (t) => {
  const machine = await machineWith(t);
  const { status, stdout, stderr } = await machine.command('recovery-key', BY_STDIN);
  t.equal(status, 0, stderr);
  t.match(stdout, KEY);
  t.equal(stderr, 'data: this opens keyslot 1; it is not shown again: keep it off this machine\n');
  t.ok(opens(machine.image.path, stdout.trim()), 'what was shown opens it');
  const slots = execFileSync('systemd-cryptenroll', [machine.image.path]).toString();
  t.match(slots, /^ *1 recovery$/m);
  t.strictSame(dumpJson(machine.image.path)?.tokens, { 0: { type: 'systemd-recovery', keyslots: ['1'] } });
});

t.test('as JSON', async (t) => {
  const machine = await machineWith(t);
  const shown = await machine.json('recovery-key', BY_STDIN);
  t.match(shown, { volume: 'data', device: machine.image.path, keyslot: '1', 'recovery-key': KEY });
  t.ok(opens(machine.image.path, String(shown['recovery-key'])));
});

t.test('at a terminal: the passphrase is asked for, and a QR code comes with it', async (t) => {
  const machine = await machineWith(t);
  const { etc, crypttab } = machine;
  const places = `--etc ${etc} --crypttab ${crypttab}`;
  const terminal = atTerminal(t, t.testdir(), `$FETCH_LUKS_KEY recovery-key data ${places}`);
  await terminal.shows(`Passphrase of ${machine.image.path}: `);
  terminal.press(`${PASSPHRASE}\n`);
  const { status, screen } = await terminal.ended;
  t.equal(status, 0, screen);
  const [key = ''] = KEY.exec(screen) ?? [];
  t.ok(opens(machine.image.path, key));
  t.match(screen, /█ ▄▄▄▄▄ █/, 'the corner of a QR code');
  t.notMatch(screen, new RegExp(PASSPHRASE));
});

t.test('nothing is left when it fails', async (t) => {
  const machine = await machineWith(t);
  const wrong = await machine.command('recovery-key', BY_STDIN, 'wrong');
  t.equal(wrong.status, 4);
  t.match(wrong.stderr, /this passphrase opens no keyslot/);
  t.equal(machine.state(), 'keyslots 0 tokens none enrolled 0 unfinished no');

  // So big that there is no room for one more token.
  const filling = 'x'.repeat(10_000);
  addToken(machine.image, { type: 'filling', keyslots: [], filling });
  for (const size of [1000, 100, 50, 20]) {
    for (;;) {
      try {
        addToken(machine.image, { type: 'filling', keyslots: [], filling: 'x'.repeat(size) });
      } catch {
        break;
      }
    }
  }
  const before = machine.state();
  const full = await machine.command('recovery-key', BY_STDIN);
  t.not(full.status, 0, full.stderr);
  t.equal(machine.state(), before, full.stderr);
});
