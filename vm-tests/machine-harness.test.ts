import { existsSync } from 'node:fs';
import { HarnessError } from './harness/command.ts';
import { plainGuest } from './harness/guest.ts';
import { bootMachine } from './harness/machine.ts';
import { machineWith, makeSealable } from './harness/machine-sealed.ts';
import { scenario } from './harness/scenario.ts';

/** Machines that go wrong as no scenario expects. One version is enough: it is the harness that is tested. */

scenario(
  'harness: the kernel crashes',
  { machine: bootMachine },
  async (t, stage) => {
    const crash = stage.boot({ ...plainGuest, script: 'echo c >/proc/sysrq-trigger', watchdogSeconds: 180 });
    const fault = await crash.then(
      () => null,
      (thrown) => thrown,
    );
    t.type(fault, HarnessError);
    t.match(fault?.step, `harness: the kernel crashes on ${stage.suite} (machine)`, 'which scenario');
    t.match(fault?.message, /the guest crashed/);
    t.ok(existsSync(fault?.log ?? ''), 'the log is there');
  },
  ['bookworm'],
);

scenario(
  'harness: nobody answers the prompt',
  { machine: bootMachine },
  async (t, stage) => {
    const disk = makeSealable(stage.folder, 'data');
    const guest = machineWith([{ name: 'data', sealed: null }], { disks: [disk], watchdogSeconds: 90 });
    const { hung, status } = await stage.boot(guest);
    t.equal(status, null, 'the script did not run');
    t.match(hung, /systemd-cryptsetup@data\.service +start +running/, 'the watchdog shows the jobs');
    t.match(hung, /^Id=cryptsetup:.*data$/m, 'and the prompt');
  },
  ['bookworm'],
);
