import type { Test } from 'tap';
import type { BootResult } from './guest.ts';
import { CYCLE, inOrder, lineOf, MULTI_USER, SYSINIT } from './journal.ts';

/**
 * What scenarios assert again and again. Order is asserted between lines of PID 1 alone: lines of two processes may
 * come to the journal the other way round.
 */

/**
 * systemd's own client has failed for the volume `data`. In a container it does so with the right key too. Until there is
 * a journal, PID 1 says so without its name.
 */
export const UNIT_FAILED = /(?:^|systemd\[1\]: )systemd-cryptsetup@data\.service: Failed with result/;
/** It has ended, one way or the other. */
export const unitEnded = (volume: string) =>
  new RegExp(`systemd\\[1\\]: (Finished |)systemd-cryptsetup@${volume}\\.service(: Failed| - )`);
/** The connection of systemd's client to our socket, or of the script's. */
export const ASKED = /systemd\[1\]: Started fetch-luks-key@.*\.service/;
/** systemd asks for the passphrase; in what the watchdog saw. */
export const PROMPT = /Id=cryptsetup:\/disks\/data/;

/** A volume's own unit: in a container it fails whatever its key, and in a machine scenarios say more of it. */
const OF_A_VOLUME = /^systemd-cryptsetup@/;

/**
 * The boot came to multi-user.target, without a cycle, and then the script ran.
 * @param mayFail units that the scenario expects to fail: no other may
 */
export function completed(t: Test, result: BootResult, mayFail: RegExp = OF_A_VOLUME): void {
  const { hung, journal, status, failedUnits } = result;
  t.strictSame(
    failedUnits.filter((unit) => !mayFail.test(unit)),
    [],
    'no other unit fails',
  );
  t.equal(hung, null, 'the boot does not hang');
  t.equal(lineOf(journal, CYCLE), null, 'no ordering cycle');
  t.not(lineOf(journal, MULTI_USER), null, 'multi-user.target is reached');
  t.not(status, null, 'the script ran');
}

/** The boot gave the volume its key: `opensVolume` of volumes.ts is the script, or the start of it. */
export function delivered(t: Test, { output }: BootResult, volume = 'data', by = 'tang'): void {
  t.match(
    output,
    new RegExp(`^boot: ${volume}: key delivered, opened by ${by}`, 'm'),
    `${volume} got its key`,
  );
  t.match(output, new RegExp(`^${volume}: the key opens it$`, 'm'), 'the right one');
}

/** The same before sysinit.target. */
export function unlockedEarly(t: Test, result: BootResult, volume = 'data', by = 'tang'): void {
  completed(t, result);
  delivered(t, result, volume, by);
  t.ok(inOrder(result.journal, unitEnded(volume), SYSINIT), 'sysinit.target waited for it');
  t.equal(result.status, 0);
}

/** Nobody got a key: the volume's unit failed, and the boot went on. @param why what the journal says of it */
export function failedCleanly(t: Test, result: BootResult, why: RegExp): void {
  completed(t, result);
  t.not(lineOf(result.journal, why), null, 'the journal says what is wrong');
  t.equal(lineOf(result.journal, /key delivered/), null, 'no key was delivered');
  t.ok(inOrder(result.journal, UNIT_FAILED, SYSINIT), 'the unit of the volume fails, and the boot goes on');
}
