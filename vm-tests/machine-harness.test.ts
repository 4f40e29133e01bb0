import { existsSync, readFileSync } from 'node:fs';
import { HarnessError } from './harness/command.ts';
import { plainGuest } from './harness/guest.ts';
import { MULTI_USER } from './harness/journal.ts';
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

/** Crashes when the report is whole, and the machine is on its way out. */
const CRASHES = `[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'echo c >/proc/sysrq-trigger'
[Install]
WantedBy=multi-user.target
`;

scenario(
  'harness: the kernel crashes at power-off',
  { machine: bootMachine },
  async (t, stage) => {
    const crash = stage.boot({
      ...plainGuest,
      enable: ['crashes.service'],
      files: { '/etc/systemd/system/crashes.service': { content: CRASHES } },
      script: 'echo all is well',
      watchdogSeconds: 180,
    });
    const fault = await crash.then(
      () => null,
      (thrown) => thrown,
    );
    t.type(fault, HarnessError);
    t.match(fault?.message, /the guest crashed: .*Kernel panic.*; its console's end:\n/);
    const report = readFileSync(`${stage.folder}/boot-1/report.log`, 'utf8');
    t.match(report, /^== end/m, 'although it had reported');
  },
  ['bookworm'],
);

scenario(
  'harness: a script that does not end, in a machine',
  { machine: bootMachine },
  async (t, stage) => {
    const script = 'echo waiting; sleep 1000';
    const result = await stage.boot({ ...plainGuest, script, watchdogSeconds: 120 });
    t.equal(result.status, 124);
    t.match(result.output, /waiting/);
    t.match(result.hung, /--- jobs/, 'what waits is shown');
    t.match(result.journal, MULTI_USER, 'and the journal');
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
