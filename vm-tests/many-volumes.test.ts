import { bootContainer } from './harness/container.ts';
import { completed, unitEnded } from './harness/expect.ts';
import { inOrder, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { BOOT_SAID, TAKEN_FOR_OPEN } from './harness/volumes.ts';

/** As many as systemd lets connect at once by default. */
const NAMES = Array.from({ length: 64 }, (_, index) => `volume${index}`);

scenario('64 volumes at once', { container: bootContainer }, async (t, stage) => {
  // One disk and one sealed key for all: what they cost is asked, not what is on them.
  const { guest } = await sealedGuest(stage, { names: NAMES, files: TAKEN_FOR_OPEN });
  const result = await stage.boot({ ...guest, script: BOOT_SAID, watchdogSeconds: 120 });
  completed(t, result);
  const delivered = [...result.output.matchAll(/^boot: (\w+): key delivered/gm)].map(([, name]) => name);
  t.strictSame(delivered.toSorted(), NAMES.toSorted(), 'each got its key, once');
  const early = NAMES.filter((name) => inOrder(result.journal, unitEnded(name), SYSINIT));
  t.strictSame(early, NAMES, 'sysinit.target waited for each');
});
