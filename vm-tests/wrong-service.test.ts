import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { ASKED } from './harness/expect.ts';
import { CYCLE, lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

scenario('wrong: service with default dependencies', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.serviceLate);
  const { hung, journal } = await stage.boot({ ...guest, watchdogSeconds: 10 });
  t.match(hung, /fetch-luks-key@\S+\.service +start +waiting/, 'the handler waits');
  t.match(hung, /sysinit\.target +start +waiting/, 'for what waits for it');
  t.equal(lineOf(journal, CYCLE), null, 'systemd sees no cycle in it');
  t.equal(lineOf(journal, ASKED), null, 'the handler never starts');
  t.equal(lineOf(journal, SYSINIT), null, 'the boot never ends');
});
