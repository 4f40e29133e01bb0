import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { BY_STDIN, type Machine } from '../support/enrolled.ts';
import { killEverywhere } from '../support/kill-everywhere.ts';
import { addKeyslot, clevisBind, dumpJson, opens, PASSPHRASE } from '../support/luks.ts';
import { startTang } from '../support/tang.ts';
import { ownSwtpm } from '../support/tpm.ts';

// Some fifty times two commands and a handler, on cores that other tests share.
t.setTimeout(1_800_000);

const tang = await startTang(t);
const POLICY = ['--tang', tang.url, '-y'];
const FILE_KEY = 'secret of a file';
const keyFile = (machine: Machine) => `${machine.image.path}.key`;
let all = 0;

function nameInCrypttab({ crypttab }: Machine, field: string, options: string): void {
  writeFileSync(crypttab, readFileSync(crypttab, 'utf8').replace(' none luks ', ` ${field} ${options} `));
}

t.test('clevis, two bindings', async (t) => {
  let header = '';
  const headerOf = ({ image }: Machine) => JSON.stringify(dumpJson(image.path));
  all += await killEverywhere(t, {
    command: 'adopt',
    args: [],
    before(machine) {
      for (let count = 0; count < 2; count++) clevisBind(machine.image, 'tang', { url: tang.url });
      header = headerOf(machine);
    },
    opensAsBefore: (machine) => headerOf(machine) === header,
    after: /^keyslots 0,1,2 tokens 0,1 enrolled 2 unfinished no$/,
    socketOpens: true,
    socketOpensAfter: true,
  });
});

t.test('a key file, replaced', async (t) => {
  all += await killEverywhere(t, {
    command: 'adopt',
    args: [...POLICY, '--replace'],
    before(machine) {
      writeFileSync(keyFile(machine), `${FILE_KEY}, and more`);
      addKeyslot(machine.image, FILE_KEY);
      nameInCrypttab(machine, keyFile(machine), `luks,keyfile-size=${FILE_KEY.length}`);
    },
    opensAsBefore: ({ image }) => opens(image.path, FILE_KEY),
    after: /^keyslots 0,2 tokens 0 enrolled 1 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: true,
  });
});

t.test('a token of systemd-cryptenroll, replaced', async (t) => {
  const tpm = await ownSwtpm(t);
  let token = '';
  // With its keyslot: what is as it was opens as it did.
  const tokenOf = ({ image }: Machine) => {
    const { tokens = {}, keyslots = {} } = dumpJson(image.path) ?? {};
    return JSON.stringify([tokens['0'], keyslots['1']]);
  };
  all += await killEverywhere(t, {
    command: 'adopt',
    args: [...POLICY, '--replace', ...BY_STDIN],
    before(machine) {
      const options = [`--tpm2-device=${tpm.tcti}`, '--tpm2-pcrs=7', machine.image.path];
      const env = { ...process.env, PASSWORD: PASSPHRASE };
      execFileSync('systemd-cryptenroll', options, { env, stdio: 'ignore' });
      token = tokenOf(machine);
      nameInCrypttab(machine, '-', 'luks,tpm2-device=auto');
    },
    opensAsBefore: (machine) => tokenOf(machine) === token,
    after: /^keyslots 0,2 tokens 1 enrolled 1 unfinished no$/,
    socketOpens: false,
    socketOpensAfter: true,
  });
});

t.test('that was everywhere', async (t) => {
  t.ok(all >= 25, `${all} points`);
});
