import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { invites, KEY_SERVER_UNIT, tellKeyServer } from './harness/inner-key-server.ts';
import { keyServerLayer } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';

const KEEPALIVE = 'fetch-luks-key-keepalive.service';

/** One server that knows this machine by two names is two servers to it. */
const SCRIPT = `set -eu
ip link set lo up
state() { echo "$1: $(systemctl is-active ${KEEPALIVE})"; }
seen() { until ${tellKeyServer('show $1 --json')} | grep -q '"last-seen-ms": *[0-9]'; do sleep 0.2; done; echo "seen $1"; }
${invites('nas')} | fetch-luks-key join --name home
state 'joined one'
systemctl enable --now ${KEEPALIVE}
seen nas
${invites('other')} | fetch-luks-key join --name second
state 'joined two'
seen other
fetch-luks-key leave second
state 'left one'
fetch-luks-key leave home
state 'left both' || true
`;

scenario(
  'a second server, joined while the first one is kept',
  { container: bootContainer },
  async (t, stage) => {
    const boot = await stage.boot({
      ...plainGuest,
      layers: [await keyServerLayer(stage.suite)],
      enable: [KEY_SERVER_UNIT],
      script: SCRIPT,
    });
    completed(t, boot);
    t.equal(boot.status, 0, boot.output);
    t.match(
      boot.output,
      /^joined one: inactive$\n(?:.*\n)*seen nas$\n(?:.*\n)*joined two: active$\nseen other$/m,
    );
    t.match(boot.output, /^left one: active$\n(?:.*\n)*left both: inactive$/m);
  },
);
