import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { failedCleanly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

scenario('key server down for ever, volume required', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.serverDown);
  const result = await stage.boot({ ...guest, script: '' });
  failedCleanly(t, result, /fetch-luks-key\[\d+\]: data: .*gave up after \d+ tries/);
});
