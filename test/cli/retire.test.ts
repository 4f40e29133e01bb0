import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { addToken, clevisToken, type Image, makeImage } from '../support/luks.ts';
import { sealerWith } from '../support/sealing.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { ownFolder, ownSwtpm } from '../support/tpm.ts';

t.setTimeout(300_000);

const KEY = 'a key';

interface Machine {
  readonly swtpm: Swtpm;
  readonly folder: string;
  readonly disk: Image;
  seal(config: object, pin?: string): Promise<string>;
  command(name: string, ...args: string[]): ReturnType<typeof fetchLuksKey>;
  /** Opens a sealed key by itself. @returns exit status */
  opens(jwe: string): Promise<number | null>;
}

async function machine(t: Test): Promise<Machine> {
  const [swtpm, folder] = [await ownSwtpm(t), ownFolder(t)];
  const disk = makeImage(folder, 'disk');
  const crypttab = join(folder, 'crypttab');
  writeFileSync(crypttab, `data ${disk.path} /run/fetch-luks-key/default.sock luks\n`);
  const environment = { TPM2TOOLS_TCTI: swtpm.tcti };
  const sealer = sealerWith(swtpm.tcti, folder);
  return {
    swtpm,
    folder,
    disk,
    seal: (config, pin = 'tpm2') => sealer(pin, config, KEY),
    command: (name, ...args) =>
      fetchLuksKey([name, 'data', '--etc', folder, '--crypttab', crypttab, ...args], '', environment),
    async opens(jwe) {
      const { status } = await fetchLuksKey(['open', '--json', '-'], jwe, environment);
      return status;
    },
  };
}

const COUNTER = { rollback_counter: '0x01800100' };

t.test('the newest sealed key stays, those before it go', async (t) => {
  const here = await machine(t);
  const first = await here.seal(COUNTER);
  addToken(here.disk, clevisToken(['0'], first));
  const once = await here.command('retire');
  t.same(once, {
    status: 0,
    stdout: '0x01800100: what was sealed before is refused from now on\n',
    stderr: '',
  });
  t.equal(await here.opens(first), 0);
  const second = await here.seal({ t: 1, pins: { tpm2: [COUNTER] } }, 'sss');
  addToken(here.disk, clevisToken(['0'], second));
  t.same([await here.opens(first), await here.opens(second)], [0, 0]);
  const { status, stdout } = await here.command('retire', '--json');
  t.equal(status, 0);
  t.match(JSON.parse(stdout), { volume: 'data', counters: [{ counter: '0x01800100', value: /^\d+$/ }] });
  t.same([await here.opens(first), await here.opens(second)], [4, 0]);
  const predicted = await here.command('predict');
  t.equal(predicted.status, 4);
  t.match(
    predicted.stdout,
    /token 0: this sealed key was retired: .*\n.*\n.*token 1: the TPM would unseal it now/,
  );
});

t.test('nothing is retired for a sealed key that does not open', async (t) => {
  const here = await machine(t);
  const first = await here.seal(COUNTER);
  addToken(here.disk, clevisToken(['0'], first));
  t.equal((await here.command('retire')).status, 0);
  const digest = Buffer.alloc(32, 7).toString('base64url');
  addToken(here.disk, clevisToken(['0'], await here.seal({ ...COUNTER, pcr_digest: digest })));
  const line = /token 1: the newest sealed key would not open, so none is retired: PCR 7 .* changed/;
  fails(t, 'another state', await here.command('retire'), 4, line);
  t.equal(await here.opens(first), 0);
});

t.test('a volume without a counter', async (t) => {
  const here = await machine(t);
  fails(t, 'no sealed key', await here.command('retire'), 3, /no sealed key of data needs the TPM/);
  addToken(here.disk, clevisToken(['0'], await here.seal({})));
  fails(t, 'no counter', await here.command('retire'), 3, /no sealed key of data has a rollback_counter/);
});
