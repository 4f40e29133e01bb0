import { bootContainer } from './harness/container.ts';
import { ASKED } from './harness/expect.ts';
import { lineOf, SYSINIT } from './harness/journal.ts';
import { mountOnVolume } from './harness/mounts.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { serviceWith, serviceWithDependency } from './harness/wrong-units.ts';

/** What the service must not have when a path lies on the volume. */
const CASES = [
  ['PrivateTmp=yes', '/tmp', serviceWith],
  ['StateDirectory=fetch-luks-key', '/var', serviceWith],
  ['WorkingDirectory=/srv', '/srv', serviceWith],
  ['RequiresMountsFor=/srv', '/srv', serviceWithDependency],
] as const;

for (const [line, path, wrong] of CASES) {
  const title = `wrong: ${line} in the service, ${path} on the volume`;
  scenario(title, { container: bootContainer }, async (t, stage) => {
    const mount = mountOnVolume(path);
    const { guest } = await sealedGuest(stage, { files: { ...wrong(line), ...mount.files } });
    const enable = [...guest.enable, mount.unit];
    const { hung, journal } = await stage.boot({ ...guest, enable, watchdogSeconds: 10 });
    t.match(hung, /fetch-luks-key@\S+\.service +start +waiting/, 'the handler waits for the mount');
    t.match(hung, new RegExp(`${mount.unit} +start +waiting`), 'which waits for the volume');
    t.equal(lineOf(journal, ASKED), null, 'the handler never starts');
    t.equal(lineOf(journal, SYSINIT), null, 'the boot never ends');
  });
}
