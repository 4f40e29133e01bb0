import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { type BootResult, plainGuest } from './harness/guest.ts';
import { invites, KEY_SERVER_UNIT, tellKeyServer } from './harness/inner-key-server.ts';
import { keyServerLayer } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';

const SERVICES = ['plain', 'encrypted'] as const;

const service = `[Unit]
After=${KEY_SERVER_UNIT}
[Service]
ExecStart=/bin/sh -c 'echo "%N started with <$$(cat $$CREDENTIALS_DIRECTORY/password)>" >> /run/started; exec sleep infinity'
[Install]
WantedBy=multi-user.target
`;

const ENROL = `set -eu
ip link set lo up
${invites('nas')} | fetch-luks-key join --name home
pin='{"server": "home"}'
printf 'open sesame' | fetch-luks-key seal --credential plain.service/password remote "$pin"
printf 'open sesame' | fetch-luks-key seal --credential encrypted.service/password --encrypted remote "$pin"
for one in ${SERVICES.join(' ')}; do fetch-luks-key credential install $one.service password; done
systemctl enable ${SERVICES.join('.service ')}.service
${tellKeyServer('lock nas')}
fetch-luks-key doctor || echo "doctor: $?"
`;

const SHOW = `for one in ${SERVICES.join(' ')}; do echo "$one: $(systemctl is-active $one.service)"; done
`;

/** As an operator and whoever runs the service do it. */
const ALLOW = `${SHOW}cat /run/started 2>/dev/null; echo allowed
${tellKeyServer('allow nas')}
systemctl reset-failed
systemctl restart ${SERVICES.join('.service ')}.service; echo "restart: $?"
# systemd 252 asks once more for each command of a service.
until [ "$(wc -l < /run/started)" = ${SERVICES.length} ]; do sleep 0.2; done
${SHOW}cat /run/started
journalctl -b --no-pager -t fetch-luks-key -o cat
`;

scenario('secrets of services, locked and allowed', { container: bootContainer }, async (t, stage) => {
  const guest = {
    ...plainGuest,
    layers: [await keyServerLayer(stage.suite)],
    enable: [KEY_SERVER_UNIT],
    files: Object.fromEntries(
      SERVICES.map((name) => [`/etc/systemd/system/${name}.service`, { content: service }]),
    ),
    // A handler that is told no goes on asking for 75 s.
    watchdogSeconds: 150,
  };
  const first = await stage.boot({ ...guest, script: ENROL });
  completed(t, first);
  t.equal(first.status, 0, first.output);
  t.match(first.output, /^doctor: 1$/m);
  for (const name of SERVICES) {
    const named = new RegExp(`^breaks-boot: ${name}\\.service: .* locked \\[will-not-open\\]$`, 'm');
    t.match(first.output, named, `${name}: the doctor names it before`);
  }
  const locked: BootResult = await stage.boot({ ...guest, enable: [], script: ALLOW }, first);
  completed(t, locked, /^(plain|encrypted)\.service$/);
  const [before = '', after = ''] = locked.output.split('\nallowed\n');
  for (const name of SERVICES) {
    t.match(before, new RegExp(`^${name}: (failed|inactive)$`, 'm'), `${name}: does not start while locked`);
    t.notMatch(before, `${name} started`);
    t.match(locked.journal, new RegExp(`${name}\\.service.*243/CREDENTIALS`), `${name}: by its credential`);
    t.match(locked.journal, new RegExp(`${name}\\.service/password: .*locked`), `${name}: and why`);
    t.match(after, new RegExp(`^${name}: active$`, 'm'), `${name}: starts once it is allowed`);
    t.match(after, new RegExp(`^${name} started with <open sesame>$`, 'm'));
  }
  t.match(after, /^restart: 0$/m);
});
