import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { ASKED, PROMPT, UNIT_FAILED } from './harness/expect.ts';
import { CYCLE, inOrder, lineOf, MULTI_USER, SYSINIT } from './harness/journal.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';

const title = 'wrong: socket with default dependencies, before cryptsetup-pre.target';

scenario(title, { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.socketInCycle);
  const { hung, journal, folder } = await stage.boot({ ...guest, script: '', watchdogSeconds: 10 });
  // Where there is no journal yet, systemd tells the console.
  const told = `${readFileSync(join(folder, 'console.log'), 'utf8')}\n${journal}`;
  t.not(lineOf(told, CYCLE), null, 'systemd finds an ordering cycle');
  const deleted = /Job (\S+)\/start deleted to break ordering cycle/.exec(told)?.[1];
  stage.keep(`systemd ${stage.version}\ndeleted: ${deleted}; the boot ${hung === null ? 'ended' : 'hung'}`);
  // Which one varies from boot to boot.
  switch (deleted) {
    case 'cryptsetup.target':
      t.ok(inOrder(journal, SYSINIT, UNIT_FAILED), 'the boot does not wait for the volume');
      break;
    case 'systemd-cryptsetup@data.service':
      t.not(lineOf(journal, MULTI_USER), null, 'the machine is up');
      t.equal(lineOf(journal, ASKED), null, 'and nobody ever asked for the key');
      break;
    default:
      t.match(deleted, /^(cryptsetup-pre\.target|fetch-luks-key@default\.socket)$/);
      t.match(hung, PROMPT, 'the socket comes too late, or never: systemd asks for the passphrase');
      t.equal(lineOf(journal, SYSINIT), null, 'the boot never ends');
  }
});
