import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import { plainGuest, type Suite, suites } from './harness/guest.ts';
import { nextRelease, WITH_RECOMMENDED } from './harness/next-release.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const NEXT: Partial<Record<Suite, Suite>> = { bookworm: 'trixie', trixie: 'forky' };

/** Without waiting for the disk after each file: the machine is thrown away. */
const UPGRADE = `export DEBIAN_FRONTEND=noninteractive
apt-get --quiet --yes --no-download ${WITH_RECOMMENDED.join(' ')} -o Dpkg::Options::=--force-unsafe-io \\
  -o Dpkg::Options::=--force-confnew dist-upgrade > /upgrade.log 2>&1
echo "upgrade: $?"; tail -n 3 /upgrade.log
systemctl --version | head -n 1\n`;

scenario(
  'upgrade of Debian to its next release, then reboot',
  { container: bootContainer },
  async (t, stage) => {
    const to = NEXT[stage.suite];
    if (to === undefined) throw new Error(`${stage.suite} has no next release here`);
    const layers = [await nextRelease(stage.suite, to)];
    const { guest } = await sealedGuest(stage);
    const script = `${UPGRADE}${guest.script}`;
    const first = await stage.boot({ ...guest, layers, script, watchdogSeconds: 600 });
    unlockedEarly(t, first);
    t.match(first.output, /^upgrade: 0$/m);
    t.match(first.output, new RegExp(`^systemd ${suites[to]} `, 'm'), 'the running systemd is the new one');

    const second = await stage.boot({ ...plainGuest, layers, script: guest.script }, first);
    t.match(
      second.journal,
      new RegExp(`systemd ${suites[to]}.* running in system mode`),
      'the new systemd boots',
    );
    unlockedEarly(t, second);
  },
  Object.keys(NEXT) as Suite[],
);
