import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { alterMessage, overwriteMessage } from '../test/support/journal-file.ts';
import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { type BootResult, plainGuest } from './harness/guest.ts';
import { scenario } from './harness/scenario.ts';
import { innerTang, TANG_UNIT } from './harness/tang.ts';

const TRUE = 'alice becomes root';
const FALSE = 'cron does its work';

/** In a file that journald has closed, with every interval in it sealed. */
const LOG = `log() { echo "$1" | systemd-cat -t intruder; journalctl --sync; }
log '${TRUE}'; sleep 1.5; log 'and goes on'; journalctl --rotate
`;
const VERIFY = `fetch-luks-key journal verify; echo "verify: $?"
fetch-luks-key journal status
`;
/** The library is taken away and given back: journald loads it when it is needed. */
const WITHOUT_LIBRARY = `for one in /usr/lib/*/libgcrypt.so.20*; do mv $one $one~; done
fetch-luks-key journal setup tang '{}'; echo "without: $?"
for one in /usr/lib/*/libgcrypt.so.20*~; do mv $one \${one%~}; done
`;

/** Of a machine that is switched off: its closed files that have the message. */
function filesWith({ folder }: BootResult, message: string): string[] {
  const files = globSync(join(folder, 'upper/var/log/journal/*/system@*.journal'));
  return files.filter((path) => readFileSync(path).includes(`MESSAGE=${message}`));
}

scenario('journal that is sealed, and changed', { container: bootContainer }, async (t, stage) => {
  const tang = innerTang(stage.folder);
  const setup = `fetch-luks-key journal setup tang '{"url":"${tang.url}"}' -y --interval 1s; echo "setup: $?"\n`;
  const guest = {
    ...plainGuest,
    enable: [TANG_UNIT],
    files: {
      ...tang.files(0),
      // After the harness's own.
      '/etc/systemd/journald.conf.d/persistent.conf': { content: '[Journal]\nStorage=persistent\n' },
    },
  };
  const isOptional = stage.version === 257;
  const first = await stage.boot({
    ...guest,
    script: `${isOptional ? WITHOUT_LIBRARY : ''}${setup}${LOG}${VERIFY}`,
  });
  completed(t, first);
  if (isOptional) t.match(first.output, /^fetch-luks-key: journald cannot seal: [\s\S]*^without: 3$/m);
  t.match(first.output, /^setup: 0$/m);
  t.match(first.output, /^the journal is intact, by verification key [0-9a-f]{24}$/m);
  t.match(first.output, /^verify: 0$/m);
  t.match(first.output, /^sealing +on$/m);

  const [path = '', ...others] = filesWith(first, TRUE);
  t.strictSame(others, []);
  const before = readFileSync(path);
  alterMessage(path, TRUE, FALSE);
  t.notOk(before.equals(readFileSync(path)));
  const read = `journalctl --no-pager -o cat -t intruder\n${VERIFY}`;
  const second = await stage.boot({ ...guest, script: read }, first);
  completed(t, second);
  t.match(second.output, new RegExp(`^${FALSE}$`, 'm'), 'the journal shows what the intruder wants');
  t.match(second.output, /@[^ ]*\.journal: NOT INTACT: Tag failed verification/, 'which is found');
  // The boot's own file may look changed too, with so short an interval (docs/JOURNAL.md).
  t.match(second.output, /^the journal is not what journald wrote: /m);
  t.match(second.output, /^verify: 6$/m);

  const [altered = ''] = filesWith(second, FALSE);
  alterMessage(altered, FALSE, TRUE);
  overwriteMessage(altered, TRUE, FALSE);
  const third = await stage.boot({ ...guest, script: VERIFY }, second);
  t.match(
    third.output,
    /NOT INTACT: Invalid object contents/,
    'a clumsy one is found by the ordinary hashes',
  );
});
