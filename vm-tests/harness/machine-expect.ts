import type { Test } from 'tap';
import type { BootResult } from './guest.ts';
import { inOrder, lineOf, SYSINIT } from './journal.ts';

/** What scenarios assert of machines, where volumes are opened for real. */

const said = (text: string) => new RegExp(`systemd\\[1\\]: ${text}`);
export const asked = (volume: string) => said(`Starting systemd-cryptsetup@${volume}\\.service`);
export const unlocked = (volume: string) => said(`Finished systemd-cryptsetup@${volume}\\.service`);
export const failed = (volume: string) => said(`systemd-cryptsetup@${volume}\\.service: Failed with result`);
export const mountedAt = (path: string) => said(`Mounted ${path.slice(1).replaceAll('/', '-')}\\.mount`);
/** What our handler says of a volume. */
export const handler = (volume: string, words: string) =>
  new RegExp(`fetch-luks-key\\[\\d+\\]: ${volume}: ${words}`);

/**
 * Opened through dm-crypt by a key of ours, and mounted: `showMounted` of machine-sealed.ts is in the script.
 * @param by what opened the key, as our handler says it; the start of a regular expression
 */
export function inUse(t: Test, result: BootResult, volume: string, by: string, at = `/mnt/${volume}`): void {
  const { journal, output } = result;
  const delivered = handler(volume, `key delivered, opened by ${by}`);
  t.not(lineOf(journal, delivered), null, `${volume}: its key came by ${by}`);
  t.ok(inOrder(journal, unlocked(volume), mountedAt(at)), `${volume}: opened, then mounted`);
  t.match(output, new RegExp(`^${at}: /dev/mapper/${volume}$`, 'm'), `${volume}: is what is mounted there`);
}

/** The same, and before sysinit.target. */
export function inUseEarly(
  t: Test,
  result: BootResult,
  volume: string,
  by: string,
  at = `/mnt/${volume}`,
): void {
  inUse(t, result, volume, by, at);
  t.ok(inOrder(result.journal, mountedAt(at), SYSINIT), `${volume}: sysinit.target waited for it`);
}

/** The boot goes on without the volume: `showBefore` of machine-sealed.ts is in the script. */
export function notWaitedFor(t: Test, { output }: BootResult, volume: string): void {
  const [, before = ''] = new RegExp(`^${volume}: Before=(.+)$`, 'm').exec(output) ?? [];
  t.match(before, /\bumount\.target/, `${volume}: what waits for it`);
  t.notOk(before.split(' ').includes('cryptsetup.target'), `${volume}: sysinit.target does not`);
}

/** No key was delivered: the volume's unit failed. @param why what our handler says of it, a regular expression */
export function refused(t: Test, { journal }: BootResult, volume: string, why: string): void {
  t.not(lineOf(journal, handler(volume, why)), null, `${volume}: the journal says what is wrong`);
  t.equal(lineOf(journal, handler(volume, 'key delivered')), null, `${volume}: no key was delivered`);
  t.not(lineOf(journal, failed(volume)), null, `${volume}: its unit failed`);
}

/** Nothing of ours stays in the TPM: `SHOW_TPM` of machine-sealed.ts is in the script. */
export function tpmIsClean(t: Test, { output }: BootResult): void {
  const nothing = 'tpm: loaded-session:\ntpm: saved-session:\ntpm: transient:\ntpm: end';
  t.match(output, nothing, 'nothing is left in the TPM');
}
