import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { invites, KEY_SERVER_SOCKET, KEY_SERVER_UNIT, tellKeyServer } from './harness/inner-key-server.ts';
import { keyServerLayer } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';

const STATE = `systemctl is-active ${KEY_SERVER_UNIT} | sed 's/^/service: /'\n`;
const OPENS = 'fetch-luks-key open /root/sealed\n';

const JOINS = `${STATE}
# Who comes first starts it.
bash -c 'exec 3<>/dev/tcp/127.0.0.1/7443'
until [ "$(systemctl is-active ${KEY_SERVER_UNIT})" = active ]; do sleep 0.1; done
${STATE}
${invites('nas')} | fetch-luks-key join --name home
echo secret | fetch-luks-key seal remote '{"server": "home"}' > /root/sealed
# Connections wait meanwhile.
systemctl restart --no-block ${KEY_SERVER_UNIT}
${OPENS}
systemctl show -p User,DynamicUser,Result ${KEY_SERVER_UNIT}
stat -c '%a %u' /var/lib/private/luks-key-server /run/luks-key-server/operator.sock
`;

scenario('key server: by its socket, then by its service', { container: bootContainer }, async (t, stage) => {
  const layers = [await keyServerLayer(stage.suite)];
  const first = await stage.boot({ ...plainGuest, layers, enable: [KEY_SERVER_SOCKET], script: JOINS });
  completed(t, first);
  t.match(first.output, /^service: inactive\n.*service: active$/ms, 'the first connection starts it');
  t.match(first.output, /^secret$/m, 'and one waits for a restart');
  t.match(first.output, /^Result=success$/m);
  t.match(first.output, /^DynamicUser=yes$/m);
  // 61184 to 65519 (systemd.exec(5), DynamicUser=).
  t.match(first.output, /^700 6[1-5]\d{3}$/m, 'its state is its own');

  const service = { ...plainGuest, layers, enable: [KEY_SERVER_UNIT] };
  const prepare = `systemctl disable ${KEY_SERVER_SOCKET}`;
  const script = `${STATE}${OPENS}${tellKeyServer('list')}`;
  const second = await stage.boot({ ...service, prepare, script }, first);
  completed(t, second);
  t.match(second.output, /^service: active$/m);
  t.match(second.output, /^secret$/m, 'keys and identity are those of before');
  t.match(second.output, /\bnas\b/);
});
