import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { scenario } from './harness/scenario.ts';
import { innerTang, TANG_UNIT } from './harness/tang.ts';

const COUNT = 200;
const ID = 'password';
const RESULTS = '/root/results';

/** By whom the services of a boot are given their secret. */
const WAYS = {
  own: {
    title: 'a process each',
    setting: `LoadCredential=${ID}:/run/fetch-luks-key/credentials/default.sock`,
    socket: 'fetch-luks-key-credential@default.socket',
  },
  shared: {
    title: 'one process for all',
    setting: `LoadCredentialEncrypted=${ID}:/run/fetch-luks-key/encrypted.sock`,
    socket: 'fetch-luks-key-encrypted.socket',
  },
  systemd: {
    title: 'systemd’s own LoadCredentialEncrypted=, a file',
    setting: `LoadCredentialEncrypted=${ID}:/etc/${ID}.cred`,
    socket: '',
  },
} as const;
type Way = keyof typeof WAYS;

const instances = (way: Way) => `$(seq -f '${way}@%g.service' ${COUNT})`;

const service = (way: Way) => `[Unit]
Wants=${WAYS[way].socket}
After=${WAYS[way].socket} ${TANG_UNIT} sampler.service
[Service]
Type=oneshot
RemainAfterExit=yes
${WAYS[way].setting}
ExecStart=/bin/sh -c 'test "$$(cat $$CREDENTIALS_DIRECTORY/${ID})" = "open sesame"'
[Install]
WantedBy=multi-user.target
`;

/** The sum over all handlers and what they started (proc_pid_smaps(5)), four times a second. */
const SAMPLER = `#!/bin/sh
most=0
while :; do
  pids=$(pgrep -f '^/usr/bin/(fetch-luks-key|systemd-creds|tpm2)' | sed 's|.*|/proc/&/smaps_rollup|')
  [ -z "$pids" ] || set -- $(cat $pids 2>/dev/null | awk '/^Pss:/ { sum += $2; count++ } END { print sum + 0, count + 0 }')
  [ -z "$pids" ] || [ "$1" -le "$most" ] || { most=$1; echo "$1 $2" > ${RESULTS}.pss; }
  sleep 0.25
done
`;
const SAMPLER_UNIT = `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh /root/sampler
`;

const SEAL = (url: string) => `set -eu
pin='{"url": "${url}"}'
printf 'open sesame' | fetch-luks-key seal --credential own@.service/${ID} tang "$pin" -y
printf 'open sesame' | fetch-luks-key seal --credential shared@.service/${ID} --encrypted tang "$pin" -y
printf 'open sesame' | systemd-creds encrypt --with-key=host --name=${ID} - /etc/${ID}.cred
systemctl enable ${instances('own')} 2>/dev/null
`;

/** From when the first was begun to when the last was there, microseconds. */
const report = (way: Way) => `cat ${RESULTS}.pss 2>/dev/null | sed 's/^/peak: /'
systemctl show -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic -p ActiveState ${instances(way)} |
  awk -F= '/^InactiveExit/ { if (!start || $2 < start) start = $2 } /^ActiveEnter/ { if ($2 > end) end = $2 }
    /^ActiveState=active/ { active++ } END { print "active: " active + 0; print "took: " (end - start) / 1000 }'
systemctl list-units --failed --no-legend --plain | head -n 5
rm -f ${RESULTS}.pss
systemctl disable ${instances(way)} 2>/dev/null
`;

/**
 * In one boot of many systemd 252 could not make the namespace of two handlers, over /run/credentials, where it mounts
 * the secrets of other units at the same time. Who has no handler must not start.
 */
const RACE = /fetch-luks-key-credential@\S+: Failed at step NAMESPACE spawning \S+: Device or resource busy/g;

scenario('200 services ask at once', { container: bootContainer }, async (t, stage) => {
  const tang = innerTang(stage.folder);
  const ways = Object.keys(WAYS) as Way[];
  const files = {
    ...tang.files(0),
    ...Object.fromEntries(
      ways.map((way) => [`/etc/systemd/system/${way}@.service`, { content: service(way) }]),
    ),
    '/etc/systemd/system/sampler.service': { content: SAMPLER_UNIT },
    '/etc/systemd/system/multi-user.target.d/sampler.conf': { content: '[Unit]\nWants=sampler.service\n' },
    '/root/sampler': { content: SAMPLER },
  };
  const guest = { ...plainGuest, watchdogSeconds: 240 };
  let last = await stage.boot({ ...guest, enable: [TANG_UNIT], files, script: SEAL(tang.url) });
  completed(t, last);
  t.equal(last.status, 0, last.output);
  const lines: string[] = [];
  for (const [index, way] of ways.entries()) {
    const next = ways[index + 1];
    const enable = next === undefined ? '' : `systemctl enable ${instances(next)} 2>/dev/null\n`;
    last = await stage.boot({ ...guest, script: `${report(way)}${enable}` }, last);
    const raced = stage.version === 252 && way === 'own' ? (last.journal.match(RACE)?.length ?? 0) : 0;
    completed(t, last, /^own@\d+\.service$/);
    t.equal(last.failedUnits.length, raced, 'no service fails but for want of a handler');
    t.ok(raced <= COUNT / 20, `handlers that systemd did not start: ${raced}`);
    const number = (name: string) => Number(new RegExp(`^${name}: (\\S+)`, 'm').exec(last.output)?.[1] ?? 0);
    t.equal(number('active'), COUNT - raced, `${WAYS[way].title}: every other service has its secret`, {
      output: last.output,
    });
    t.notMatch(last.journal, /trigger-limit-hit|Too many incoming connections|start-limit-hit/);
    if (way !== 'systemd') {
      t.equal(last.journal.match(/@\d+\.service\/password: key delivered/g)?.length, COUNT - raced);
      // Not judged: how many run at once is the other scenarios' doing too. bench/RESULTS.md has it beside its bar.
      t.ok(number('peak') > 0, 'memory was looked at');
    }
    const [, count = '0'] = /^peak: \d+ (\d+)$/m.exec(last.output) ?? [];
    const peak = way === 'systemd' ? '–' : `${Math.round(number('peak') / 1024)} MiB in ${count} processes`;
    const without = raced === 0 ? '' : `, ${raced} failed: systemd did not start their handlers`;
    lines.push(`${WAYS[way].title}: ${Math.round(number('took'))} ms, ${peak}${without}`);
  }
  stage.keep(`systemd ${stage.version}, ${COUNT} services\n${lines.join('\n')}`);
});
