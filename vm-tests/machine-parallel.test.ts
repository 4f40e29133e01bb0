import { createHash } from 'node:crypto';
import { completed } from './harness/expect.ts';
import { bootMachine } from './harness/machine.ts';
import { machineWith, makeSealable, SHOW_TPM } from './harness/machine-sealed.ts';
import { IN_THE_GUEST, makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';

const HANDLERS = 16;
/**
 * Tools of the sequence, as the kernel cuts their names off; each is running when its handler is killed. Not while
 * tpm2_startauthsession runs: a session that it saves in that instant is known to nobody.
 */
const MOMENTS = ['tpm2_load', 'tpm2_unseal', 'tpm2_flushconte'];
const NOTHING = 'tpm: loaded-session:\ntpm: saved-session:\ntpm: transient:\ntpm: end';

/** What is asked here is the TPM's order, not patience: sixteen take a while on a slow machine. */
const config = { content: 'volumes:\n  data: { give-up-after: 15m }\n' };
const SCRIPT_SECONDS = 600;

const ASK = `ask() { fetch-luks-key request data --output - | sha256sum; }
idle() { while systemctl --quiet is-active 'fetch-luks-key@*.service'; do sleep 0.2; done; }
# kill_during TOOL: kills the handler that runs it.
kill_during() {
  while :; do for folder in /proc/[0-9]*; do
    read -r name 2>/dev/null <$folder/comm || continue
    [ "$name" = "$1" ] && read -r _ _ _ parent _ 2>/dev/null <$folder/stat && kill -KILL $parent && return
  done; done
}
`;
const ALL_AT_ONCE = `for i in $(seq ${HANDLERS}); do ask >/run/answer-$i & done; wait; idle
echo "together:"; cat /run/answer-*; ${SHOW_TPM}`;
const KILLED = MOMENTS.map(
  (tool) => `ask & kill_during ${tool}; wait; idle; echo 'killed during ${tool}:'; ${SHOW_TPM}
echo 'next after ${tool}:'; ask; idle; ${SHOW_TPM}`,
).join('');

scenario('sixteen handlers at once, handlers killed', { machine: bootMachine }, async (t, stage) => {
  const disk = makeSealable(stage.folder, 'data');
  const { state, sealed } = await makeTpm(t, stage.folder, async (seal) => ({
    data: await seal('tpm2', IN_THE_GUEST, disk.key),
  }));
  const guest = machineWith([{ name: 'data', sealed: sealed.data, options: 'luks,noauto', mount: null }], {
    disks: [disk],
    tpm: state,
    files: { '/etc/fetch-luks-key/config.yaml': config },
    script: `${ASK}${ALL_AT_ONCE}${KILLED}`,
    watchdogSeconds: SCRIPT_SECONDS,
  });
  const result = await stage.boot(guest);
  completed(t, result);
  const right = `${createHash('sha256').update(disk.key).digest('hex')}  -\n`;
  t.match(
    result.output,
    `together:\n${right.repeat(HANDLERS)}${NOTHING}`,
    'all get the key, and leave nothing',
  );
  for (const tool of MOMENTS) {
    t.match(result.output, `next after ${tool}:\n${right}${NOTHING}`, `the next after a kill during ${tool}`);
  }
  const killed = result.journal.match(/Main process exited, code=killed, status=9\/KILL/g) ?? [];
  t.equal(killed.length, MOMENTS.length, 'each was killed');
  t.match(result.output, /^- 0x/m, 'what a killed handler leaves is seen');
});
