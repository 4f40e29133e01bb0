import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const FOLDERS = [
  '/run/systemd/system',
  '/run/udev',
  '/run',
  '/etc',
  '/usr',
  '/var',
  '/run/fetch-luks-key',
  '/run/systemd/ask-password',
  '/tmp',
];

/** In place of the handler, under all else that its unit says. */
const DROP_IN = `[Service]
ExecStart=
ExecStart=/bin/sh -c 'for folder in ${FOLDERS.join(' ')}; do \
  mkdir $folder/x 2>/dev/null && echo "may write $folder" || echo "may not write $folder"; done >&2'
`;

scenario('the handler’s sandbox', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, {
    options: 'luks,noauto',
    files: { '/etc/systemd/system/fetch-luks-key@.service.d/try.conf': { content: DROP_IN } },
  });
  const script = `mkdir -p /run/udev
fetch-luks-key request data >/dev/null 2>&1
journalctl --sync; journalctl -b -t fetch-luks-key -o cat --no-pager | grep '^may'\n`;
  const result = await stage.boot({ ...guest, script });
  completed(t, result);
  t.same(result.output.match(/^may .*$/gm)?.toSorted(), [
    'may not write /etc',
    'may not write /run',
    'may not write /run/systemd/system',
    'may not write /run/udev',
    'may not write /usr',
    'may not write /var',
    'may write /run/fetch-luks-key',
    'may write /run/systemd/ask-password',
    'may write /tmp',
  ]);
});
