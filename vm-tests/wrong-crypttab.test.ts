import { breaks, NAMES } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { ASKED, completed, UNIT_FAILED } from './harness/expect.ts';
import { inOrder, lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { BOOT_SAID } from './harness/volumes.ts';

/** What crypttab must not say, or cannot. */

scenario('wrong: keyfile-offset= in crypttab', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.keyfileOffset);
  const result = await stage.boot({ ...guest, script: BOOT_SAID });
  completed(t, result);
  t.equal(lineOf(result.journal, /key delivered/), null, 'no key is delivered');
  t.ok(inOrder(result.journal, UNIT_FAILED, SYSINIT), 'the unit of the volume fails');
});

scenario('wrong: a name of 79 bytes in crypttab', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.nameTooLong);
  const result = await stage.boot({ ...guest, script: BOOT_SAID });
  completed(t, result);
  t.match(result.output, new RegExp(`^boot: ${NAMES.longest}: key delivered`, 'm'), '78 bytes are asked for');
  const asked = result.journal.split('\n').filter((line) => ASKED.test(line));
  t.equal(asked.length, 1, 'and nobody else asks');
  t.notMatch(result.output, `${NAMES.longer}: `, 'for 79 bytes nothing is');
});
