import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { failedCleanly } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

scenario('program missing', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.programMissing);
  const result = await stage.boot({ ...guest, script: '' });
  failedCleanly(t, result, /fetch-luks-key@.*\.service: .*status=203\/EXEC/);
});
