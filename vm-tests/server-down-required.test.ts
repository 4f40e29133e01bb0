import { bootContainer } from './harness/container.ts';
import { failedCleanly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const config = { content: 'volumes:\n  data: { give-up-after: 6s }\n' };
const files = { '/etc/fetch-luks-key/config.yaml': config };

scenario('key server down for ever, volume required', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, { serverAfterSeconds: null, files });
  const result = await stage.boot({ ...guest, script: '' });
  failedCleanly(t, result, /fetch-luks-key\[\d+\]: data: .*gave up after \d+ tries/);
});
