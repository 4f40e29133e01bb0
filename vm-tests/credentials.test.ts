import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { type GuestFile, plainGuest } from './harness/guest.ts';
import { scenario } from './harness/scenario.ts';
import { innerTang, TANG_UNIT } from './harness/tang.ts';

const ID = 'password';

/** Shows what it got. Without a drop-in it has no ExecStartPre=: the handler's own unit alone keeps it from starting. */
const service = (early: boolean): GuestFile => ({
  content: `[Unit]
Wants=fetch-luks-key-credential@default.socket
After=fetch-luks-key-credential@default.socket
[Service]
Type=oneshot
RemainAfterExit=yes
LoadCredential=${ID}:/run/fetch-luks-key/credentials/default.sock
ExecStart=/bin/sh -c 'echo "%N started with <$$(cat $$CREDENTIALS_DIRECTORY/${ID})>" >> /run/started'
${early ? '[Install]\nWantedBy=multi-user.target\n' : ''}`,
});

const HANDLER = '^/usr/bin/fetch-luks-key handle';
const SCRIPT = `try() { timeout 30 systemctl start $1 2>/dev/null; echo "$1: $?"; }
try refused.service
try broken.service
# Its server does not answer: it is killed at work.
systemctl stop ${TANG_UNIT}
(until pgrep -f '${HANDLER}' >/dev/null; do sleep 0.1; done; sleep 1; pkill -KILL -f '${HANDLER}'; echo killed) &
try waiting.service
wait
systemctl start ${TANG_UNIT}
# Before Node has set anything up, by what systemd takes for a clean end.
mv /usr/bin/fetch-luks-key /usr/bin/kept
printf '#!/bin/sh\\nkill -TERM $$\\n' > /usr/bin/fetch-luks-key; chmod 755 /usr/bin/fetch-luks-key
try terminated.service
# Half of a secret, then a crash.
printf '#!/bin/sh\\nprintf half >&0; kill -SEGV $$\\n' > /usr/bin/fetch-luks-key
try half.service
rm /usr/bin/fetch-luks-key
try missing.service
# A sandbox that cannot be made.
mkdir -p /run/systemd/system/fetch-luks-key-credential@.service.d
printf '[Service]\\nBindReadOnlyPaths=/no/such/folder\\n' > /run/systemd/system/fetch-luks-key-credential@.service.d/wrong.conf
mv /usr/bin/kept /usr/bin/fetch-luks-key
for one in namespace group template@; do fetch-luks-key credential install $one.service ${ID} 2>/dev/null; done
systemctl daemon-reload
try namespace.service
rm -r /run/systemd/system/fetch-luks-key-credential@.service.d
systemctl daemon-reload
try template@one.service
sed -i '/^tss:/d' /etc/group
try group.service
cat /run/started
`;

const FAILED = ['refused', 'broken', 'waiting', 'terminated', 'half', 'missing', 'namespace', 'group'];

scenario('secrets of services', { container: bootContainer }, async (t, stage) => {
  const tang = innerTang(stage.folder);
  const sealed = { content: await tang.seal('open sesame'), mode: 0o600 };
  const at = (unit: string) => `/etc/fetch-luks-key/credentials/${unit}/${ID}.jwe`;
  const services = ['good', ...FAILED].map((name) => [
    `/etc/systemd/system/${name}.service`,
    service(name === 'good'),
  ]);
  const keys = ['good', 'waiting', 'terminated', 'half', 'missing', 'namespace', 'group'].map((name) => [
    at(`${name}.service`),
    sealed,
  ]);
  const result = await stage.boot({
    ...plainGuest,
    enable: [TANG_UNIT, 'good.service'],
    files: {
      ...tang.files(0),
      ...Object.fromEntries(services),
      ...Object.fromEntries(keys),
      '/etc/systemd/system/template@.service': service(false),
      [at('template@.service')]: sealed,
      [at('broken.service')]: { content: 'a.b.c', mode: 0o600 },
    },
    script: SCRIPT,
  });
  completed(t, result);
  for (const name of FAILED) {
    t.match(result.output, new RegExp(`^${name}\\.service: 1$`, 'm'), `${name}: the service fails`);
    t.notMatch(result.output, `${name} started`, `${name}: and does not start with less`);
  }
  t.match(result.output, /^killed$/m);
  for (const how of ['9/KILL', '11/SEGV', '203/EXEC', '226/NAMESPACE', '216/GROUP'])
    t.match(result.journal, `status=${how}`, `a handler ended by ${how}`);
  t.match(result.output, /^good started with <open sesame>$/m, 'at boot');
  t.match(result.output, /^template@one\.service: 0$/m);
  t.match(result.output, /^template@one started with <open sesame>$/m);
});
