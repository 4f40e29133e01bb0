import { bootContainer } from './harness/container.ts';
import { failedCleanly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

/** Waits for the program itself, not only for the unit, so that what is killed is a handler at work. */
const KILLER = `[Unit]
Description=Kills the handler
DefaultDependencies=no
[Service]
Type=exec
ExecStart=/bin/sh -c 'until pgrep -f "^/usr/bin/fetch-luks-key handle"; do sleep 0.1; done; sleep 1; pkill -KILL -f "^/usr/bin/fetch-luks-key handle"'
[Install]
WantedBy=sysinit.target
`;

scenario('handler killed in the midst of a request', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, {
    serverAfterSeconds: null,
    files: { '/etc/systemd/system/killer.service': { content: KILLER } },
  });
  const result = await stage.boot({ ...guest, enable: [...guest.enable, 'killer.service'], script: '' });
  failedCleanly(t, result, /fetch-luks-key@.*\.service: Main process exited, code=killed, status=9\/KILL/);
});
