import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { type Ended, fetchLuksKey } from './command-line.ts';
import type { Machine } from './enrolled.ts';
import { addKeyslot, PASSPHRASE } from './luks.ts';
import type { Swtpm } from './swtpm.ts';
import { ownFolder } from './tpm.ts';

/** What opens a volume by itself without us, and what takes it over. */

export const adopt = (machine: Machine, args: readonly string[] = [], input = '') =>
  machine.command('adopt', args, input);

/** The volume's line, whose comment is kept. */
export function writeLine({ image, crypttab }: Machine, keyFile: string, options: string): void {
  writeFileSync(crypttab, `# disks\n\ndata ${image.path} ${keyFile} ${options} # ours\n`);
}

export function lineIs(t: Test, { image, crypttab }: Machine, keyFile: string, options: string): void {
  const expected = `# disks\n\ndata ${image.path} ${keyFile} ${options} # ours\n`;
  t.equal(readFileSync(crypttab, 'utf8'), expected, 'crypttab');
}

export const commitments = ({ etc }: Machine) => {
  const path = `${etc}/commitments/data`;
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').length - 1 : 0;
};

/** systemd-cryptenroll itself, with a TPM that it reaches as its own library does. */
export function cryptenroll(machine: Machine, tpm: Swtpm, pcrs = '7'): void {
  execFileSync(
    'systemd-cryptenroll',
    [`--tpm2-device=${tpm.tcti}`, `--tpm2-pcrs=${pcrs}`, machine.image.path],
    {
      env: { ...process.env, PASSWORD: PASSPHRASE },
      stdio: 'ignore',
    },
  );
  tpm.flush();
}

/** A key file whose key opens a keyslot of its own. */
export function withKeyFile(t: Test, machine: Machine): string {
  const path = `${ownFolder(t)}/data.key`;
  writeFileSync(path, 'xxxxsecret of a file!!');
  addKeyslot(machine.image, 'secret of a file');
  writeLine(machine, path, 'luks,keyfile-offset=4,keyfile-size=16,nofail');
  return path;
}

/** Runs adopt where this folder's files seem to be in `place` too. */
export async function adoptWith(
  machine: Machine,
  place: string,
  folder: string,
  args: readonly string[] = [],
): Promise<Ended> {
  const script = 'mount -t overlay overlay -o "lowerdir=$1:$2" "$2"; shift 2; exec "$@"';
  const wrapper = [
    '/usr/bin/unshare',
    '--mount',
    '--propagation=private',
    '/bin/sh',
    '-euc',
    script,
    'sh',
    folder,
    place,
  ];
  const places = ['--etc', machine.etc, '--crypttab', machine.crypttab, '--socket', machine.path];
  return await fetchLuksKey(['adopt', 'data', ...places, ...args], '', {}, wrapper);
}
