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

/**
 * The daemon may not write what is run with all privileges, and reaches nobody who does what root asks for: the sandbox of
 * its unit is entered to try, with more privileges than it has.
 */
const SCRIPT = `set -eu
echo 'on-locked: [{ run: [/usr/bin/touch, /run/acted] }]' >/etc/fetch-luks-key/config.yaml
${invites('nas')} | fetch-luks-key join --name home
echo secret | fetch-luks-key seal remote '{"server": "home"}' >/etc/fetch-luks-key/volumes/data.jwe
systemctl start ${KEEPALIVE}
until journalctl -b -u ${KEEPALIVE} | grep -q 'watching home'; do sleep 0.2; done
stat -c '%a %U %n' ${SCRIPTS} ${SCRIPTS}/*
inside() { nsenter --mount --target "$(systemctl show -P MainPID ${KEEPALIVE})" "$@"; }
for folder in ${SCRIPTS} /run /run/systemd/system /etc/fetch-luks-key /run/fetch-luks-key/act /etc/fetch-luks-key/audit-heads /etc/fetch-luks-key/server-keys; do
  inside touch "$folder/x" 2>/dev/null &&
    echo "may write $folder" || echo "may not write $folder"
done
systemd-run --quiet --wait /bin/true && echo 'systemd-run from here: well'
inside systemd-run --quiet --wait /bin/true 2>/dev/null && echo 'systemd-run from inside: well'
inside systemctl kill --signal=0 ${KEEPALIVE} 2>/dev/null && echo 'systemctl from inside: well'
# As a handler is: root without capabilities.
setpriv --bounding-set=-all --inh-caps=-all sleep infinity &
nsenter --mount --user --target "$(systemctl show -P MainPID ${KEEPALIVE})" setpriv --bounding-set=-all --inh-caps=-all \
  head -c 0 /proc/$!/environ 2>/dev/null && echo 'looks into handlers' || echo 'does not look into handlers'
setpriv --bounding-set=-all --inh-caps=-all head -c 0 /proc/$!/environ && echo 'from here one does'
kill $!
# Not by -type, which for what is mounted there looks at what is below it.
inside find /run /var ! -type d -exec stat -c '%F %n' {} + | sed -n 's/^socket /reaches /p'
rm -f /run/fetch-luks-key/act/x /etc/fetch-luks-key/audit-heads/x /etc/fetch-luks-key/server-keys/x
claims() { journalctl -b -o cat -u ${KEY_SERVER_UNIT} | grep -o 'alert acted: nas .*'; }
${LOCK}
echo 'acted by the script'
until [ "$(claims | wc -l)" = 2 ]; do sleep 0.2; done
${tellKeyServer('allow nas')} >/dev/null
until journalctl -b -u ${KEEPALIVE} | grep -q 'armed again'; do sleep 0.2; done
rm ${SCRIPTS}/*
${LOCK}
echo 'acted without it'
until [ "$(claims | wc -l)" = 4 ]; do sleep 0.2; done
claims
`;

scenario('locked while it runs: acted upon', { container: bootContainer }, async (t, stage) => {
  const result = await stage.boot({
    ...plainGuest,
    layers: [await keyServerLayer(stage.suite)],
    enable: [KEY_SERVER_UNIT],
    script: SCRIPT,
  });
  completed(t, result);
  t.equal(result.status, 0, result.output);
  t.match(result.output, /^700 root \/run\/fetch-luks-key-act\n600 root .*\/locked\n600 root .*\/revoked$/m);
  t.same(result.output.match(/^may .*$/gm), [
    `may not write ${SCRIPTS}`,
    'may not write /run',
    'may not write /run/systemd/system',
    'may not write /etc/fetch-luks-key',
    'may write /run/fetch-luks-key/act',
    'may write /etc/fetch-luks-key/audit-heads',
    'may write /etc/fetch-luks-key/server-keys',
  ]);
  t.same(result.output.match(/^systemd-run from .*$|^systemctl from .*$/gm), ['systemd-run from here: well']);
  t.match(result.output, /^does not look into handlers\nfrom here one does$/m);
  t.same(result.output.match(/^reaches .*$/gm), ['reaches /run/systemd/notify']);
  t.match(result.output, /^acted by the script\nacted without it$/m);
  t.same(
    result.output.match(/^alert acted: .*$/gm)?.map((line) => line.replace(/.*(?=locked)| \[.*/g, '')),
    ['locked: doing run', 'locked: run: done', 'locked: doing run', 'locked: run: done'],
    'the server is told before, and what became of it after',
  );
  t.not(lineOf(result.journal, /fetch-luks-key\[\d+\]: \/usr\/bin\/touch \/run\/acted: done/), null);
});
