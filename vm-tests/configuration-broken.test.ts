import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { failedCleanly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

scenario('configuration broken', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.configurationBroken);
  const result = await stage.boot({ ...guest, script: '' });
  // File, line and field.
  failedCleanly(t, result, /fetch-luks-key\[\d+\]: .*config\.yaml.*2.*give-up-aftr/);
});
