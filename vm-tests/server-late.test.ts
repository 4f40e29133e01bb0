import { bootContainer } from './harness/container.ts';
import { ASKED, UNIT_FAILED, unlockedEarly } from './harness/expect.ts';
import { timeOf } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const LATE_SECONDS = 8;

scenario('key server comes up late', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, { serverAfterSeconds: LATE_SECONDS });
  const result = await stage.boot(guest);
  unlockedEarly(t, result);
  const heldSeconds = timeOf(result.journal, UNIT_FAILED) - timeOf(result.journal, ASKED);
  t.ok(heldSeconds > LATE_SECONDS / 2, 'the handler held the connection meanwhile');
});
