import type { Guest, GuestFile } from './guest.ts';

/** What runs inside a guest beside what is tested: it waits until the boot has ended, or hangs, and reports. */

/** Folder in the guest for the harness's own files and the report. */
export const INSIDE = '/boot-test';

/** One of the two reports, and ends the machine; the other finds the folder there. */
const CLAIM = `mkdir /run/boot-test-ended 2>/dev/null || exit 0`;
/** A journal that breaks off, on a full disk say, is no journal. */
const JOURNAL = `journalctl -b --no-pager -o short-monotonic > ${INSIDE}/journal.unfinished 2>&1 &&
  mv ${INSIDE}/journal.unfinished ${INSIDE}/journal`;
const OFF_AT_ONCE = 'exec systemctl poweroff --force --force';
/** In order, as ending is something that units can get wrong too; but not where a script has seen to its own end. */
const OFF = `if [ "$(timeout 10 systemctl is-system-running)" != stopping ]; then
  timeout 10 systemctl poweroff --no-block && exit
fi
${OFF_AT_ONCE}`;
const ENVIRONMENT =
  'export SYSTEMD_COLORS=0 SYSTEMD_PAGER= LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin';

const FAILED_UNITS = `systemctl list-units --failed --plain --no-legend --full --no-pager | sed 's/ .*//'`;

/** What a boot, or a script, that does not end waits for. */
const WAITING = `{ echo '--- jobs'; timeout 10 systemctl list-jobs --no-pager
  echo '--- password prompts'; cat /run/systemd/ask-password/ask.* 2>/dev/null
  echo '--- processes'; ps -eo pid,ppid,stat,args --no-headers
} > ${INSIDE}/hung 2>&1`;

/** A script that does not end has timeout(1)'s status. Arguments: SECONDS */
const REPORT = `#!/bin/sh
${ENVIRONMENT}
systemctl is-system-running --wait > /dev/null
${CLAIM}
${FAILED_UNITS} > ${INSIDE}/failed-units
timeout --kill-after=5 "$1" sh ${INSIDE}/script > ${INSIDE}/output 2>&1 < /dev/null
status=$?
echo $status > ${INSIDE}/status
[ $status != 124 ] || ${WAITING}
${JOURNAL}
${OFF}
`;

const WATCHDOG = `#!/bin/sh
${ENVIRONMENT}
sleep "$1"
${CLAIM}
${WAITING}
${JOURNAL}
${OFF_AT_ONCE}
`;

/** Outside of all ordering: it has to run where the boot hangs. */
const unit = (description: string, after: string, start: string) => `[Unit]
Description=${description}
DefaultDependencies=no
${after}
[Service]
Type=exec
ExecStart=${start}
`;

/** The journal also goes to the console as it is written: what is left of a guest that crashed. */
const JOURNALD = `[Journal]
Storage=volatile
RateLimitIntervalSec=0
ForwardToConsole=yes
TTYPath=/dev/console
MaxLevelConsole=debug
`;

/** Files of the harness for a guest; `default.target` and the two units' links are made by `linksInside`. */
export function filesInside(guest: Guest): Readonly<Record<string, GuestFile>> {
  const seconds = guest.watchdogSeconds;
  return {
    [`${INSIDE}/script`]: { content: guest.script },
    [`${INSIDE}/report`]: { content: REPORT, mode: 0o755 },
    [`${INSIDE}/watchdog`]: { content: WATCHDOG, mode: 0o755 },
    '/etc/systemd/system/boot-test-report.service': {
      content: unit(
        'Report of this boot',
        'After=multi-user.target rescue.target sysinit.target',
        `${INSIDE}/report ${seconds}`,
      ),
    },
    '/etc/systemd/system/boot-test-watchdog.service': {
      content: unit('Watch over this boot', '', `${INSIDE}/watchdog ${seconds}`),
    },
    '/etc/systemd/journald.conf.d/boot-test.conf': { content: JOURNALD },
  };
}

/** Symbolic links, by path. The watchdog is wanted by each of them: it must start first, whatever is booted. */
export const linksInside: Readonly<Record<string, string>> = {
  '/etc/systemd/system/default.target': '/lib/systemd/system/multi-user.target',
  ...Object.fromEntries(
    ['multi-user.target', 'rescue.target'].flatMap((target) =>
      ['report', 'watchdog'].map((name) => [
        `/etc/systemd/system/${target}.wants/boot-test-${name}.service`,
        `../boot-test-${name}.service`,
      ]),
    ),
  ),
};
