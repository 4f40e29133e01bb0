import { bootContainer } from './harness/container.ts';
import { completed, UNIT_FAILED } from './harness/expect.ts';
import { inOrder, lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const GAVE_UP = /fetch-luks-key\[\d+\]: data: .*gave up after \d+ tries/;
const config = { content: 'volumes:\n  data: { give-up-after: 6s }\n' };
const files = { '/etc/fetch-luks-key/config.yaml': config };

scenario('key server down for ever, nofail', { container: bootContainer }, async (t, stage) => {
  const options = 'luks,nofail,headless=1';
  const { guest } = await sealedGuest(stage, { serverAfterSeconds: null, options, files });
  const result = await stage.boot({ ...guest, script: '' });
  completed(t, result);
  t.ok(
    inOrder(result.journal, SYSINIT, UNIT_FAILED),
    'nobody waits for a volume with nofail; its unit fails',
  );
  t.not(lineOf(result.journal, GAVE_UP), null, 'the journal says why');
});
