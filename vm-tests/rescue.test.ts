import { bootContainer } from './harness/container.ts';
import { delivered, UNIT_FAILED } from './harness/expect.ts';
import { inOrder, lineOf, MULTI_USER, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

/** In place of the shell, for which nobody is there. */
const NO_SHELL = `[Unit]
Description=Rescue mode without a shell
DefaultDependencies=no
After=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
`;

scenario('rescue mode', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, {
    files: { '/etc/systemd/system/rescue.service': { content: NO_SHELL } },
  });
  const result = await stage.boot({ ...guest, append: '--unit=rescue.target' });
  t.equal(result.hung, null, 'the boot does not hang');
  t.not(lineOf(result.journal, /Reached target rescue\.target/), null, 'rescue.target is reached');
  t.equal(lineOf(result.journal, MULTI_USER), null, 'and nothing beyond it');
  t.ok(inOrder(result.journal, UNIT_FAILED, SYSINIT), 'sysinit.target waited for the volume');
  delivered(t, result);
});
