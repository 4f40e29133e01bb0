import { bootContainer } from './harness/container.ts';
import { completed, PROMPT, UNIT_FAILED } from './harness/expect.ts';
import { inOrder, lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { BOOT_SAID } from './harness/volumes.ts';
import {
  DEFAULT_DEPENDENCIES,
  NOT_BEFORE_CRYPTSETUP,
  SOCKET_FILE,
  WANTED_BY_SOCKETS,
  wrongUnit,
} from './harness/wrong-units.ts';

const files = wrongUnit(SOCKET_FILE, [
  ...DEFAULT_DEPENDENCIES,
  ...NOT_BEFORE_CRYPTSETUP,
  ...WANTED_BY_SOCKETS,
]);
const LISTENING = /systemd\[1\]: Listening on fetch-luks-key@default\.socket/;

scenario('wrong: socket with default dependencies', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, { files, options: 'luks' });
  const { hung, journal } = await stage.boot({ ...guest, watchdogSeconds: 10 });
  t.match(hung, PROMPT, 'systemd asks for the passphrase');
  t.equal(lineOf(journal, LISTENING), null, 'the socket is not there');
});

scenario(
  'wrong: socket with default dependencies, headless=1',
  { container: bootContainer },
  async (t, stage) => {
    const { guest } = await sealedGuest(stage, { files });
    const result = await stage.boot({ ...guest, script: BOOT_SAID });
    completed(t, result);
    t.ok(inOrder(result.journal, UNIT_FAILED, SYSINIT), 'the unit of the volume fails');
    t.ok(inOrder(result.journal, SYSINIT, LISTENING), 'the socket comes after it');
    t.notMatch(result.output, /key delivered/, 'nobody was asked for the key');
  },
);
