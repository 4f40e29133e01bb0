import { onVolumes } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { ASKED } from './harness/expect.ts';
import { lineOf, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

for (const broken of Object.values(onVolumes)) {
  const title = `wrong: ${broken.line} in the service, ${broken.path} on the volume`;
  scenario(title, { container: bootContainer }, async (t, stage) => {
    const { guest } = await sealedGuest(stage, broken);
    const { hung, journal } = await stage.boot({ ...guest, watchdogSeconds: 10 });
    t.match(hung, /fetch-luks-key@\S+\.service +start +waiting/, 'the handler waits for the mount');
    t.match(hung, new RegExp(`${broken.unit} +start +waiting`), 'which waits for the volume');
    t.equal(lineOf(journal, ASKED), null, 'the handler never starts');
    t.equal(lineOf(journal, SYSINIT), null, 'the boot never ends');
  });
}
