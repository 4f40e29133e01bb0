import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { ASKED, failedCleanly } from './harness/expect.ts';
import { lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const title = 'wrong: DynamicUser=yes in the service, /tmp on the volume';

scenario(title, { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.dynamicUser);
  const result = await stage.boot({ ...guest, script: '', watchdogSeconds: 20 });
  // It brings PrivateTmp= in, which from some version on makes a /tmp of its own for units of early boot.
  if (stage.version < 257) {
    t.match(result.hung, /fetch-luks-key@\S+\.service +start +waiting/, 'the handler waits for the mount');
    t.match(result.hung, /tmp\.mount +start +waiting/, 'which waits for the volume');
    t.equal(lineOf(result.journal, ASKED), null, 'the handler never starts');
    t.equal(lineOf(result.journal, SYSINIT), null, 'the boot never ends');
  } else {
    failedCleanly(t, result, /fetch-luks-key\[\d+\]: data: .*cannot be read \(EACCES\)/);
  }
});
