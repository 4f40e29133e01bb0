import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const LATE_SECONDS = 8;
/** What the handler says itself: systemd may start it before there is a journal for systemd's own words. */
const DELIVERED = /fetch-luks-key\[\d+\]: data: key delivered, .* in (\d+) ms/;

scenario('key server comes up late', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, { serverAfterSeconds: LATE_SECONDS });
  const result = await stage.boot(guest);
  unlockedEarly(t, result);
  const heldMs = Number(DELIVERED.exec(result.journal)?.[1]);
  t.ok(heldMs > (LATE_SECONDS / 2) * 1000, `the handler held the connection meanwhile: ${heldMs} ms`);
});
