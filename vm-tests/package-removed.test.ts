import { readFileSync } from 'node:fs';
import { bootContainer } from './harness/container.ts';
import { completed, failedCleanly, PROMPT, unlockedEarly } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { lineOf } from './harness/journal.ts';
import { packagePath } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';
import { jwePath, sealedGuest } from './harness/sealed.ts';
import { SOCKET_UNIT } from './harness/volumes.ts';

const NO_SOCKET = /key file '\/run\/fetch-luks-key\/default\.sock' missing/;
const IS_THERE = `test -e ${jwePath('data')} && echo 'the sealed key is there'`;
/** The doctor is asked by a copy of the program. */
const REMOVE = `cp /usr/bin/fetch-luks-key /doctor; dpkg --remove fetch-luks-key
/doctor doctor; echo "doctor: $?"; rm /doctor\n`;
/** While crypttab names the socket, and after. */
const PURGE_TWICE = `dpkg --purge fetch-luks-key; ${IS_THERE}
dpkg --install /package.deb; rm /etc/crypttab; dpkg --purge fetch-luks-key
find / -xdev -name '*fetch-luks-key*' -not -path '/boot-test/*' -not -path '/var/lib/dpkg/*' | sed 's/^/left: /'\n`;

scenario('package removed, then purged, headless=1', { container: bootContainer }, async (t, stage) => {
  const files = { '/package.deb': { content: readFileSync(packagePath()) } };
  const { guest } = await sealedGuest(stage, { files });
  const remove = `${guest.script}${REMOVE}${IS_THERE}`;
  const first = await stage.boot({ ...guest, script: remove });
  unlockedEarly(t, first);
  t.match(
    first.output,
    /crypttab still names its socket for data:/,
    'who needs it is told before the reboot',
  );
  t.match(first.output, /^breaks-boot: .* \[socket-missing\]$/m, 'the doctor names it');
  t.match(first.output, /^doctor: 1$/m);
  t.match(first.output, /^the sealed key is there$/m);

  const second = await stage.boot({ ...plainGuest, script: PURGE_TWICE }, first);
  failedCleanly(t, second, NO_SOCKET);
  t.match(second.output, /crypttab still names its socket, so/);
  t.match(second.output, /^the sealed key is there$/m, 'a key that a volume may need survives the purge');
  t.notMatch(second.output, /^left: /m, 'without one nothing is left');

  const third = await stage.boot({ ...plainGuest, script: 'systemctl --failed --quiet' }, second);
  completed(t, third);
  t.equal(lineOf(third.journal, /fetch-luks-key/), null, 'the machine has forgotten it');
});

scenario(
  'package removed, somebody may type the passphrase',
  { container: bootContainer },
  async (t, stage) => {
    const { guest } = await sealedGuest(stage, { options: 'luks' });
    const prepare = `systemctl enable ${SOCKET_UNIT}; dpkg --remove fetch-luks-key`;
    const { hung, journal } = await stage.boot({ ...guest, prepare, enable: [], watchdogSeconds: 10 });
    t.match(hung, PROMPT, 'systemd asks for the passphrase');
    t.not(lineOf(journal, NO_SOCKET), null, 'the journal says why');
  },
);
