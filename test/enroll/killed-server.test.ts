import t from 'tap';
import { fetchLuksKey } from '../support/command-line.ts';
import { BY_STDIN, type Machine } from '../support/enrolled.ts';
import { startKeyServer } from '../support/key-server.ts';
import { killEverywhere, type Life } from '../support/kill-everywhere.ts';

// Some fifty times two commands and a handler, on cores that other tests share.
t.setTimeout(1_800_000);

const server = await startKeyServer(t);
const POLICY = ['--remote', 'home', ...BY_STDIN];
let count = 0;

async function joined({ etc }: Machine): Promise<void> {
  const line = await server.invite(`machine-${++count}`);
  const { status, stderr } = await fetchLuksKey(['join', '--name', 'home', '--etc', etc], line);
  if (status !== 0) throw new Error(stderr);
}

const enrolled: Life['before'] = async (machine) => {
  await joined(machine);
  const { status, stderr } = await machine.command('enroll', POLICY);
  if (status !== 0) throw new Error(stderr);
};

t.test('enroll, which makes a key at a server', async (t) => {
  await killEverywhere(t, {
    command: 'enroll',
    args: POLICY,
    before: joined,
    after: /^keyslots 0,1 tokens 0 enrolled 1 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: true,
  });
});

t.test('unenroll, which deletes it', async (t) => {
  await killEverywhere(t, {
    command: 'unenroll',
    args: BY_STDIN,
    before: enrolled,
    after: /^keyslots 0 tokens none enrolled 0 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: false,
  });
});
