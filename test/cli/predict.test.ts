import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { fails } from '../support/command-line.ts';
import {
  action,
  digestOf,
  eventLog,
  image,
  type Measurement,
  separator,
  variable,
} from '../support/event-logs.ts';
import { addToken, clevisToken, makeImage } from '../support/luks.ts';
import { makeSigner, signNow } from '../support/policy-signatures.ts';
import { run } from '../support/run.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { ownFolder, ownSwtpm } from '../support/tpm.ts';

t.setTimeout(300_000);

const boot: Measurement[] = [
  variable('SecureBoot', '\u0001'),
  variable('db', 'allowed'),
  variable('dbx', 'forbidden'),
  separator(7),
  separator(4),
  action(4, 'Calling EFI Application from Boot Option'),
  image('\\EFI\\debian\\shimx64.efi', 'shim'),
];
/** The same after an update: more is forbidden, and the loader is another. */
const updated = [
  ...boot.slice(0, 2),
  variable('dbx', 'more'),
  ...boot.slice(3, 6),
  image('\\EFI\\debian\\shimx64.efi', 'new shim'),
  image('\\EFI\\debian\\grubx64.efi', 'grub'),
];

/** A machine with firmware that measures, its event log and signatures in places of its own. */
class Machine {
  readonly swtpm: Swtpm;
  readonly folder: string;
  readonly #log: string;
  readonly #run: string;
  readonly #wrapper: string[];

  constructor(swtpm: Swtpm, folder: string) {
    this.swtpm = swtpm;
    this.folder = folder;
    this.#log = join(folder, 'security');
    this.#run = join(folder, 'systemd');
    for (const path of [this.#log, `${this.#log}/tpm0`, this.#run, this.etc, `${this.etc}/volumes`])
      mkdirSync(path);
    const script = join(folder, 'in-private');
    const mounts = `mount --bind ${this.#log} /sys/kernel/security && mount --bind ${this.#run} /run/systemd`;
    writeFileSync(script, `#!/bin/sh\n${mounts} && exec "$@"\n`, { mode: 0o755 });
    this.#wrapper = ['/usr/bin/unshare', '--mount', script];
    this.crypttab(`data ${join(folder, 'absent')} /run/fetch-luks-key/default.sock luks\n`);
  }

  get etc(): string {
    return join(this.folder, 'etc');
  }

  crypttab(text: string): void {
    writeFileSync(join(this.folder, 'crypttab'), text);
  }

  /** Switches on: PCRs are measured anew. */
  async boots(events: readonly Measurement[]): Promise<void> {
    await this.swtpm.restart();
    for (const event of events) {
      const [sha1, sha256] = (['sha1', 'sha256'] as const).map((hash) =>
        digestOf(event, hash).toString('hex'),
      );
      this.swtpm.run('tpm2_pcrextend', [`${event.pcr}:sha1=${sha1},sha256=${sha256}`]);
    }
    this.log(eventLog(events));
  }

  log(bytes: Buffer): void {
    writeFileSync(`${this.#log}/tpm0/binary_bios_measurements`, bytes);
  }

  signatures(json: unknown): void {
    writeFileSync(`${this.#run}/tpm2-pcr-signature.json`, JSON.stringify(json));
  }

  async command(args: readonly string[], input = '') {
    const environment = { TPM2TOOLS_TCTI: this.swtpm.tcti };
    const program = [...this.#wrapper, ...DEFAULT_PROGRAM, ...args];
    const { stdout, ...rest } = await run(program, Buffer.from(input), environment);
    return { ...rest, stdout: stdout.toString() };
  }

  async seal(pin: string, config: object): Promise<string> {
    const { status, stdout, stderr } = await this.command(['seal', pin, JSON.stringify(config)], 'key');
    if (status !== 0) throw new Error(stderr);
    return stdout.trim();
  }

  async sealed(config: object, pin = 'tpm2'): Promise<void> {
    writeFileSync(`${this.etc}/volumes/data.jwe`, await this.seal(pin, config));
  }

  predict(...args: string[]) {
    return this.command([
      'predict',
      'data',
      '--etc',
      this.etc,
      '--crypttab',
      join(this.folder, 'crypttab'),
      ...args,
    ]);
  }

  async predicted() {
    const { status, stdout } = await this.predict('--json');
    return { status, ...JSON.parse(stdout) };
  }
}

async function machine(t: Test): Promise<Machine> {
  return new Machine(await ownSwtpm(t), ownFolder(t));
}

t.test('PCRs that changed are named, and what changed them', async (t) => {
  const here = await machine(t);
  await here.boots(boot);
  await here.sealed({ pcr_ids: '0,4,7' });
  const where = `${here.etc}/volumes/data.jwe`;
  const before = await here.predict();
  t.same(before, {
    status: 0,
    stdout: `${where}: the TPM would unseal it now\n  PCR 0: as sealed to\n  PCR 4: as sealed to\n  PCR 7: as sealed to\n`,
    stderr: '',
  });
  await here.boots(updated);
  const after = await here.predict();
  t.equal(after.status, 4);
  t.match(
    after.stdout,
    `${where}: PCRs 4, 7 (bank sha256) changed since the key was sealed (hint: after a wanted`,
  );
  t.match(
    after.stdout,
    [
      '  PCR 0: as sealed to',
      '  PCR 4: changed',
      '    event 3 is another: EV_EFI_BOOT_SERVICES_APPLICATION \\EFI\\debian\\shimx64.efi',
      '    event 4 is new: EV_EFI_BOOT_SERVICES_APPLICATION \\EFI\\debian\\grubx64.efi',
      '  PCR 7: changed',
      '    event 3 is another: EV_EFI_VARIABLE_DRIVER_CONFIG dbx',
      '',
    ].join('\n'),
  );
  const none = { events: null, why: null };
  const loader = (number: number, what: string, file: string) => ({
    what,
    number,
    name: `EV_EFI_BOOT_SERVICES_APPLICATION \\EFI\\debian\\${file}`,
  });
  t.match(await here.predicted(), {
    status: 4,
    volume: 'data',
    keys: [
      {
        where,
        opens: false,
        why: /^PCRs 4, 7/,
        bank: 'sha256',
        pcrs: [
          { pcr: 0, state: 'same', ...none },
          {
            pcr: 4,
            state: 'changed',
            events: [loader(3, 'changed', 'shimx64.efi'), loader(4, 'new', 'grubx64.efi')],
            why: null,
          },
          { pcr: 7, state: 'changed', events: [{ what: 'changed', number: 3 }], why: null },
        ],
        signed: null,
      },
    ],
  });
  await here.boots([...boot.slice(0, 2), ...boot.slice(3)]);
  t.match((await here.predict()).stdout, '  PCR 7: changed\n    event 3 of then is gone\n');
  await here.boots(boot);
  t.equal((await here.predict()).status, 0);
});

t.test('where the log does not tell, it says why', async (t) => {
  const here = await machine(t);
  await here.boots(boot);
  await here.sealed({});
  await here.boots(updated);
  here.log(eventLog(boot));
  t.match((await here.predict()).stdout, /PCR 7: changed; the event log does not account for its value/);
  here.log(Buffer.from('no log'));
  t.match((await here.predict()).stdout, /PCR 7: changed; this machine shows no event log/);
  await here.sealed({});
  t.match(await here.predicted(), { status: 0, keys: [{ pcrs: [{ pcr: 7, state: 'same' }] }] });
  await here.boots(boot);
  t.match(await here.predict(), {
    status: 4,
    stdout: /PCR 7: changed; what had been measured .* is not known/,
  });
  await here.sealed({ clevis: true, pcr_ids: '4,7' });
  t.match(await here.predict(), { status: 0, stdout: /PCR 4: as sealed to\n {2}PCR 7: as sealed to/ });
  await here.boots(updated);
  t.match(await here.predict(), {
    status: 4,
    stdout:
      /one or more of PCRs 4, 7 .*\n {2}PCR 4: perhaps changed: which did, the sealed key does not tell\n/,
  });
});

t.test('signed PCRs: whether a signature is there', async (t) => {
  const here = await machine(t);
  const signer = makeSigner(here.folder, 'policy');
  await here.boots(boot);
  await here.sealed({ public_key: signer.publicKey });
  t.match(await here.predict(), {
    status: 4,
    stdout:
      /PCR 11 .*: no signed policy[\s\S]*\n {2}PCR 7: as sealed to\n {2}PCR 11: no signature for the present values\n$/,
  });
  here.signatures({ sha256: [signNow(here.folder, here.swtpm, signer, [11])] });
  const path = '/run/systemd/tpm2-pcr-signature.json';
  t.match(await here.predict(), {
    status: 0,
    stdout: `would unseal it now\n  PCR 7: as sealed to\n  PCR 11: signed in ${path} for the present values\n`,
  });
  t.match(await here.predicted(), { keys: [{ opens: true, why: null, signed: { pcrs: [11], path } }] });
  const entry = signNow(here.folder, here.swtpm, signer, [11]);
  here.signatures({ sha256: [{ ...entry, sig: `A${entry.sig.slice(1)}` }] });
  t.match(await here.predict(), { status: 6, stdout: /a signature is not by the policy key/ });
  here.swtpm.extend(11);
  t.match(await here.predicted(), {
    status: 4,
    keys: [{ opens: false, why: /^PCR 11 .* changed/, pcrs: [{ state: 'same' }], signed: { path: null } }],
  });
});

t.test('every TPM pin of every sealed key, wherever it is', async (t) => {
  const here = await machine(t);
  await here.boots(boot);
  const disk = makeImage(here.folder, 'disk');
  const both = { tpm2: [{ pcr_ids: '4' }, { pcr_ids: '7' }] };
  addToken(disk, clevisToken(['0'], await here.seal('sss', { t: 1, pins: both })));
  here.crypttab(`data ${disk.path} /run/fetch-luks-key/default.sock luks\n`);
  const ofPcr = (events: Measurement[], pcr: number) => events.filter((event) => event.pcr === pcr);
  await here.boots([...ofPcr(updated, 4), ...ofPcr(boot, 7)]);
  const { status, keys } = await here.predicted();
  t.equal(status, 4);
  t.match(keys, [
    { where: `${disk.path} token 0`, pcrs: [{ pcr: 4, state: 'changed' }] },
    { where: `${disk.path} token 0`, opens: true, pcrs: [{ pcr: 7, state: 'same' }] },
  ]);
});

t.test('failures', async (t) => {
  const here = await machine(t);
  await here.boots(boot);
  fails(t, 'no device', await here.predict(), 5, /absent: no such file or device/);
  const disk = makeImage(here.folder, 'disk');
  here.crypttab(`data ${disk.path} /run/fetch-luks-key/default.sock luks\n`);
  fails(t, 'no sealed key', await here.predict(), 3, /no sealed key of data needs the TPM/);
  await here.sealed({ t: 1, pins: { tpm2: [{ pcr_ids: '' }] } }, 'sss');
  t.match(await here.predicted(), { status: 0, keys: [{ opens: true, bank: null, pcrs: [], signed: null }] });
  here.crypttab('other /dev/sda luks\n');
  fails(t, 'no line', await here.predict(), 3, /no line for data in/);
  here.crypttab('data /dev/absent /run/fetch-luks-key/default.sock luks\n');
  const other = new Machine(await ownSwtpm(t), ownFolder(t));
  await other.boots(boot);
  await other.sealed({});
  await here.sealed({});
  writeFileSync(`${here.etc}/volumes/data.jwe`, await other.seal('tpm2', {}));
  t.match(await here.predict(), { status: 6, stdout: /the TPM holds another|sealed by another TPM/ });
  await here.swtpm.stop();
  fails(t, 'no TPM', await here.predict(), 5, /no TPM at/);
});
