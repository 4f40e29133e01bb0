import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { failedCleanly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

scenario('refused, headless=1', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.noSealedKey);
  const result = await stage.boot({ ...guest, script: '' });
  failedCleanly(t, result, /fetch-luks-key\[\d+\]: data: no sealed key for data/);
});
