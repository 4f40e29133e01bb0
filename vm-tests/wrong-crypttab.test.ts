import { breaks, NAMES } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { completed, UNIT_FAILED } from './harness/expect.ts';
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
  // What is before it in the address is a random number: in one boot of 16 it leaves room for one byte more.
  t.notMatch(result.output, `${NAMES.longer}: `, '79 bytes are not, or are refused');
});
