import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { completed, UNIT_FAILED } from './harness/expect.ts';
import { inOrder, lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const GAVE_UP = /fetch-luks-key\[\d+\]: data: .*gave up after \d+ tries/;

scenario('key server down for ever, nofail', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.serverDownNofail);
  const result = await stage.boot({ ...guest, script: '' });
  completed(t, result);
  t.ok(
    inOrder(result.journal, SYSINIT, UNIT_FAILED),
    'nobody waits for a volume with nofail; its unit fails',
  );
  t.not(lineOf(result.journal, GAVE_UP), null, 'the journal says why');
});
