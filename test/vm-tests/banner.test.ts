import t from 'tap';
import { checkVersion, consoleFault } from '../../vm-tests/harness/banner.ts';

const banner = (version: string) => `systemd ${version} running in system mode (+PAM +AUDIT)`;

t.test('guests that say that they crashed, whatever they report', async (t) => {
  for (const line of [
    '[   12.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b',
    'systemd[1]: Caught <SEGV>, dumped core as pid 81.',
    'systemd[1]: Freezing execution.',
  ]) {
    t.equal(consoleFault(`${banner('252')}\r\n${line}\r\n[   12.4] more\r\n`), `the guest crashed: ${line}`);
  }
  t.equal(consoleFault(`${banner('252')}\nReached target poweroff.target\n`), null);
});

t.test('a unit that did not end when the machine did', async (t) => {
  const line = "systemd[1]: stays.service: State 'stop-sigterm' timed out. Killing.";
  t.match(consoleFault(line), "did not end in order: stays.service: State 'stop-sigterm' timed out");
});

t.test('the version that results are told under is the one that was booted', async (t) => {
  const check = (version: string) => () => checkVersion('a step', 'forky', `x\n${banner(version)}\n`, '/log');
  t.doesNotThrow(check('262.1-2'));
  t.doesNotThrow(check('262~rc1-1'));
  t.throws(check('263-1'), {
    name: 'HarnessError',
    message: 'a step: expected systemd 262 in forky, got 263: see guest.ts (log: /log)',
  });
  t.throws(() => checkVersion('a step', 'forky', 'nothing', '/log'), { message: /got none/ });
});
