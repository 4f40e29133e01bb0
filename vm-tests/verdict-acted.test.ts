import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { invites, KEY_SERVER_UNIT, tellKeyServer } from './harness/inner-key-server.ts';
import { lineOf } from './harness/journal.ts';
import { keyServerLayer } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';

const KEEPALIVE = 'fetch-luks-key-keepalive.service';
const SCRIPTS = '/run/fetch-luks-key-act';
const LOCK = `${tellKeyServer('lock nas')} >/dev/null; until [ -e /run/acted ]; do sleep 0.1; done; rm /run/acted`;

/** The daemon may not write what is run with all privileges: the sandbox of its unit is entered to try. */
const SCRIPT = `set -eu
echo 'on-locked: [{ run: [/usr/bin/touch, /run/acted] }]' >/etc/fetch-luks-key/config.yaml
${invites('nas')} | fetch-luks-key join --name home
echo secret | fetch-luks-key seal remote '{"server": "home"}' >/etc/fetch-luks-key/volumes/data.jwe
systemctl start ${KEEPALIVE}
until journalctl -b -u ${KEEPALIVE} | grep -q 'watching home'; do sleep 0.2; done
stat -c '%a %U %n' ${SCRIPTS} ${SCRIPTS}/*
for folder in ${SCRIPTS} /run/systemd/system /etc/fetch-luks-key /run/fetch-luks-key/act /etc/fetch-luks-key/audit-heads /etc/fetch-luks-key/server-keys; do
  nsenter --mount --target "$(systemctl show -P MainPID ${KEEPALIVE})" touch "$folder/x" 2>/dev/null &&
    echo "may write $folder" || echo "may not write $folder"
done
rm -f /run/fetch-luks-key/act/x /etc/fetch-luks-key/audit-heads/x /etc/fetch-luks-key/server-keys/x
${LOCK}
echo 'acted by the script'
${tellKeyServer('allow nas')} >/dev/null
until journalctl -b -u ${KEEPALIVE} | grep -q 'armed again'; do sleep 0.2; done
rm -r ${SCRIPTS}
${LOCK}
echo 'acted without it'
`;

scenario('locked while it runs: acted upon', { container: bootContainer }, async (t, stage) => {
  const result = await stage.boot({
    ...plainGuest,
    layers: [await keyServerLayer(stage.suite)],
    enable: [KEY_SERVER_UNIT, 'fetch-luks-key-act@locked.path'],
    script: SCRIPT,
  });
  completed(t, result);
  t.equal(result.status, 0, result.output);
  t.match(result.output, /^700 root \/run\/fetch-luks-key-act\n600 root .*\/locked\n600 root .*\/revoked$/m);
  t.same(result.output.match(/^may .*$/gm), [
    `may not write ${SCRIPTS}`,
    'may not write /run/systemd/system',
    'may not write /etc/fetch-luks-key',
    'may write /run/fetch-luks-key/act',
    'may write /etc/fetch-luks-key/audit-heads',
    'may write /etc/fetch-luks-key/server-keys',
  ]);
  t.match(result.output, /^acted by the script\nacted without it\n$/m);
  t.not(lineOf(result.journal, /fetch-luks-key\[\d+\]: \/usr\/bin\/touch \/run\/acted: done/), null);
});
