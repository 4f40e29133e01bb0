import { readFileSync } from 'node:fs';
import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { lineOf } from './harness/journal.ts';
import { previousPackage } from './harness/previous.ts';
import { packagePath } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';
import { jwePath, sealedGuest } from './harness/sealed.ts';
import { SOCKET_UNIT } from './harness/volumes.ts';

const CONFIG = '/etc/fetch-luks-key/config.yaml';
const OWN_FILES = `sha256sum ${CONFIG} ${jwePath('data')}`;
const OLD_SOCKET = /Listening on .* of the previous version/;

scenario('upgrade from the previous package, then reboot', { container: bootContainer }, async (t, stage) => {
  const previous = { content: readFileSync(await previousPackage()) };
  const files = {
    '/previous.deb': previous,
    '/package.deb': { content: readFileSync(packagePath()) },
    [CONFIG]: { content: '# mine\nvolumes:\n  data: { give-up-after: 1m }\n' },
  };
  const { guest } = await sealedGuest(stage, { files });
  const upgrade = [
    `${OWN_FILES} > /before; sha256sum /usr/bin/fetch-luks-key > /program`,
    'dpkg --install /package.deb',
    `sha256sum --status --check /program || echo 'another program'`,
    `systemctl is-active ${SOCKET_UNIT} | sed 's/^/after the upgrade: /'`,
    guest.script,
  ].join('\n');
  const prepare = 'dpkg --remove fetch-luks-key; dpkg --install /previous.deb';
  const first = await stage.boot({ ...guest, prepare, script: upgrade });
  // In the running system the upgrade left the socket as it was, and the next connection gets the new program.
  unlockedEarly(t, first);
  t.not(lineOf(first.journal, OLD_SOCKET), null, 'the previous package was booted');
  t.match(first.output, /^another program$/m);
  t.match(first.output, /^after the upgrade: active$/m, 'the socket goes on listening');
  t.notMatch(first.output, /error/i);

  const script = `${guest.script}${OWN_FILES} | cmp - /before && echo 'own files: the same'`;
  const second = await stage.boot({ ...plainGuest, script }, first);
  unlockedEarly(t, second);
  t.equal(lineOf(second.journal, OLD_SOCKET), null, 'the new package is booted');
  t.match(second.output, /^own files: the same$/m);
});
