import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { HarnessError } from './harness/command.ts';
import { bootContainer } from './harness/container.ts';
import { type Guest, plainGuest } from './harness/guest.ts';
import { MULTI_USER } from './harness/journal.ts';
import { nextRelease } from './harness/next-release.ts';
import { type Stage, scenario } from './harness/scenario.ts';

/** Guests that go wrong as no scenario expects: the harness says which one, and where the log is, and is never green. */

const unit = (start: string) => ({
  content: `[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=${start}\n[Install]\nWantedBy=sysinit.target\n`,
});
const withUnit = (start: string): Guest => ({
  ...plainGuest,
  enable: ['wrecker.service'],
  files: { '/etc/systemd/system/wrecker.service': unit(start) },
  watchdogSeconds: 10,
});

/** Does not heed the signal, until systemd loses patience. */
const STAYS = `[Service]
ExecStart=/bin/sh -c 'trap "" TERM; while :; do sleep 1; done'
TimeoutStopSec=2
[Install]
WantedBy=multi-user.target
`;

async function faultOf(stage: Stage, guest: Guest): Promise<HarnessError | null> {
  try {
    await stage.boot(guest);
    return null;
  } catch (thrown) {
    if (thrown instanceof HarnessError) return thrown;
    throw thrown;
  }
}

const CASES: Readonly<Record<string, readonly [Guest, RegExp]>> = {
  'PID 1 crashes at boot': [withUnit('/bin/sh -c "kill -SEGV 1"'), /the guest crashed/],
  'PID 1 crashes when all seemed well': [
    { ...plainGuest, script: 'kill -SEGV 1; sleep 1' },
    /the guest crashed/,
  ],
  'the guest does not end in order': [
    {
      ...plainGuest,
      enable: ['stays.service'],
      files: { '/etc/systemd/system/stays.service': { content: STAYS } },
    },
    /did not end in order: stays\.service: State 'stop-sigterm' timed out/,
  ],
  'the guest goes off': [withUnit('/bin/systemctl poweroff -ff'), /the guest ended without a report/],
  'the guest cannot be prepared': [{ ...plainGuest, prepare: 'echo no such luck; exit 3' }, /no such luck/],
};

for (const [name, [guest, reason]] of Object.entries(CASES)) {
  const title = `harness: ${name}`;
  scenario(title, { container: bootContainer }, async (t, stage) => {
    const fault = await faultOf(stage, guest);
    t.match(fault?.message, reason);
    t.match(fault?.step, `${title} on ${stage.suite} (container)`, 'which scenario');
    t.ok(existsSync(fault?.log ?? ''), 'the log is there');
  });
}

scenario(
  'harness: the download of an upgrade breaks off',
  { container: bootContainer },
  async (t, stage) => {
    const { PATH } = process.env;
    // Names another mirror, for the harness alone.
    writeFileSync(`${stage.folder}/apt-get`, '#!/bin/sh\necho http://127.0.0.1:1/debian\n', { mode: 0o755 });
    process.env['PATH'] = `${stage.folder}:${PATH}`;
    const fault = await nextRelease(stage.suite, 'forky').then(
      () => null,
      (thrown) => thrown,
    );
    process.env['PATH'] = PATH;
    t.type(fault, HarnessError);
    t.match(fault?.step, `${stage.suite}: packages of the upgrade to forky`);
    t.match(fault?.message, /apt-get: exit status 100; it printed:/);
    t.ok(existsSync(fault?.log ?? ''), 'the log is there');
  },
  ['bookworm'],
);

scenario('harness: a script that does not end', { container: bootContainer }, async (t, stage) => {
  const result = await stage.boot({ ...plainGuest, script: 'echo waiting; sleep 1000', watchdogSeconds: 5 });
  t.equal(result.status, 124);
  t.match(result.output, /waiting/);
  t.match(result.hung, /--- jobs/, 'what waits is shown');
  t.match(result.journal, MULTI_USER, 'and the journal');
});

scenario('harness: a boot that does not end', { container: bootContainer }, async (t, stage) => {
  const waits = {
    content: `${unit('/bin/sleep 1000').content.replace('[Service]', '[Service]\nType=oneshot')}`,
  };
  const content = waits.content.replace('[Unit]', '[Unit]\nBefore=sysinit.target');
  const guest = { ...withUnit(''), files: { '/etc/systemd/system/wrecker.service': { content } } };
  const result = await stage.boot({ ...guest, script: 'true', watchdogSeconds: 5 });
  t.match(result.hung, /wrecker\.service +start +running/, 'the watchdog shows the jobs');
  t.match(result.hung, /\/bin\/sleep 1000/, 'and the processes');
  t.equal(result.status, null);
  t.match(readFileSync(`${result.folder}/console.log`, 'utf8'), /wrecker\.service/);
});
