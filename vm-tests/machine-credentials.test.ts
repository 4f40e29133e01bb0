import { completed } from './harness/expect.ts';
import { bootMachine } from './harness/machine.ts';
import { beside, hostLuksKeyServer, listenToGuest, tellHost } from './harness/machine-key-server.ts';
import { NETWORKD, networkdFiles } from './harness/machine-network.ts';
import { machineWith } from './harness/machine-sealed.ts';
import { makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

/** Waits for nothing of the network: its secret does. */
const SERVICE = `[Service]
ExecStart=/bin/sh -c 'echo "started with <$$(cat $$CREDENTIALS_DIRECTORY/password)>" >> /run/started; exec sleep infinity'
[Install]
WantedBy=multi-user.target
`;
const STATE = `echo "state: $(systemctl is-active web.service)"; cat /run/started 2>/dev/null\n`;
/** Each script waits for the host, and a handler that is told no goes on asking for 75 s. */
const SCRIPT_SECONDS = 400;

scenario('a service’s secret: locked, allowed', { machine: bootMachine }, async (t, stage) => {
  const { state } = await makeTpm(t, stage.folder, async () => ({}));
  const server = await hostLuksKeyServer(t);
  const guest = {
    disks: [],
    tpm: state,
    network: true,
    enable: [NETWORKD],
    watchdogSeconds: SCRIPT_SECONDS,
  };
  const policy = '{"t": 2, "pins": {"tpm2": {}, "remote": {"server": "home"}}}';
  const joins = machineWith([], {
    ...guest,
    files: {
      ...networkdFiles,
      '/etc/systemd/system/web.service': { content: SERVICE },
      '/boot-test/invitation': { content: server.invitation },
    },
    script: `set -eu
/usr/lib/systemd/systemd-networkd-wait-online --timeout=60
fetch-luks-key join --name home </boot-test/invitation
printf 'open sesame' | fetch-luks-key seal --credential web.service/password sss '${policy}'
fetch-luks-key credential install web.service password
systemctl enable --now web.service
until [ -s /run/started ]; do sleep 0.2; done
${STATE}`,
  });
  const joined = await stage.boot(joins);
  t.equal(joined.status, 0, 'joined and sealed', { output: joined.output });
  t.match(joined.output, /^state: active\nstarted with <open sesame>$/m);

  t.equal((await server.command('lock', 'nas')).status, 0);
  const told = await listenToGuest(t);
  const script = `${STATE}${tellHost(told, 'refused')}
until systemctl reset-failed web.service; systemctl restart web.service; do sleep 1; done
until [ -s /run/started ]; do sleep 0.2; done
${STATE}`;
  const locked = await beside(stage.boot(machineWith([], { ...guest, script }), joined), async (signal) => {
    await told.heard('refused', signal);
    t.equal((await server.command('allow', 'nas')).status, 0);
  });
  completed(t, locked, /^web\.service$/);
  t.match(locked.output, /^state: (failed|inactive)\n(.*\n)*state: active\nstarted with <open sesame>$/m);
  t.match(locked.journal, /web\.service.*243\/CREDENTIALS/, 'it did not start');
  t.match(locked.journal, /web\.service\/password: .*locked/, 'and why');
});
