import { isNamed } from '../config/server-keys.ts';
import { leavesOf, opensWith, type PinPolicy, policyText } from '../status/policy.ts';
import type { SealedKeyFacts, VolumeFacts } from '../status/volume.ts';
import type { Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';

/** Whether the pins of the sealed keys would answer, and what they hold off. */
export function checkPins(facts: Facts): Finding[] {
  return [
    ...facts.volumes.flatMap((volume) => [
      ...checkOpening(volume.volume, '', volume.used, facts),
      ...checkPcrs(volume, facts),
    ]),
    ...facts.credentials.flatMap((use) =>
      checkOpening(use.unit, `its credential ${use.credential}: `, [use], facts),
    ),
    ...checkTpm(facts),
  ];
}

/** PCRs that are extended after the volume was opened too: what they hold now says nothing of the next boot. */
const CHANGES_WHILE_UP = [10, 11, 12, 15];

/** Whether what differs may be nothing but how far this boot has come. */
function isOfThisMoment(pin: PinPolicy, tpm: Facts['tpm']): boolean {
  if (pin.pin !== 'tpm2') return false;
  const { pcrs, signed } = pin.object;
  const ids = [pcrs, signed].flatMap((one) => one?.selection.ids ?? []);
  if (!ids.some((id) => CHANGES_WHILE_UP.includes(id))) return false;
  const changed = tpm?.changed.get(pin) ?? [];
  return changed.every((id) => CHANGES_WHILE_UP.includes(id));
}

/** @param whose what is said begins with it @param used sealed keys, each of which is enough */
function checkOpening(
  about: string,
  whose: string,
  used: readonly Pick<SealedKeyFacts, 'policy'>[],
  { answers, servers, tpm }: Facts,
): Finding[] {
  const policies = used.flatMap(({ policy }) => (policy === null ? [] : [policy]));
  if (policies.length === 0) return [];
  const faultOf = (pin: PinPolicy) => {
    const fault = answers.get(pin) ?? null;
    return fault?.code === 'pcr-mismatch' && isOfThisMoment(pin, tpm) ? null : fault;
  };
  const nameOf = (server: Buffer) => servers.find((one) => isNamed(one, server))?.name ?? null;
  const silent = policies.flatMap(leavesOf).flatMap((pin) => {
    const fault = faultOf(pin);
    return fault === null ? [] : [{ text: `${policyText(pin, nameOf)}: ${fault.message}`, fault }];
  });
  if (policies.some((policy) => opensWith(policy, (pin) => faultOf(pin) === null))) {
    return silent.map(({ text, fault }) =>
      finding(
        'pin-does-not-answer',
        about,
        `${whose}${text}; the other pins are enough`,
        fault.hint ?? 'seal again without it if it is gone for good',
      ),
    );
  }
  const what = `${whose}needs ${policies.map((policy) => policyText(policy, nameOf)).join(' or ')}, and would not open now: ${silent.map(({ text }) => text).join('; ')}`;
  return [
    finding(
      'will-not-open',
      about,
      what,
      silent.find(({ fault }) => fault.hint !== undefined)?.fault.hint ?? 'see what each pin says',
    ),
  ];
}

/** What changes PCRs that people seal to (the UAPI group's Linux TPM PCR Registry). */
const changedBy: Readonly<Record<number, string>> = {
  0: 'firmware updates',
  1: 'firmware settings',
  2: 'firmware of cards',
  3: 'firmware of cards',
  4: 'updates of boot loader and kernel',
  5: 'partitioning',
  8: 'changes of GRUB’s menu',
  9: 'updates of kernel and initramfs',
  10: 'every program that IMA measures',
  11: 'updates of a unified kernel, and the phases of the boot',
  12: 'kernel command line and credentials',
};

function checkPcrs({ volume, used }: VolumeFacts, { tpm }: Facts): Finding[] {
  const pins = used.flatMap(({ policy }) => (policy === null ? [] : leavesOf(policy)));
  return pins.flatMap((pin) => {
    if (pin.pin !== 'tpm2') return [];
    const { pcrs, signed, pinSalt = null } = pin.object;
    // Signed PCRs are PCRs; and a PIN's object is guarded by the PIN.
    if (pcrs === null && (signed !== null || pinSalt !== null)) return [];
    if (pcrs === null) {
      const what = 'it is sealed to the TPM without any PCR: whatever the machine boots, the TPM opens it';
      return [finding('no-pcr', volume, what, 'seal again with "pcr_ids":"7"')];
    }
    const findings: Finding[] = [];
    const unused = tpm?.unused.get(pin) ?? [];
    if (unused.length > 0) {
      const what = `nothing was measured into PCR ${unused.join(', ')} (bank ${pcrs.selection.bank}): sealing to it holds nobody off`;
      findings.push(
        finding(
          'pcr-zero',
          volume,
          what,
          'switch Secure Boot and measuring on in the firmware, or seal to other PCRs',
        ),
      );
    }
    const volatile = pcrs.selection.ids.filter((id) => changedBy[id] !== undefined);
    if (volatile.length > 0) {
      const what = `it is sealed to PCR ${volatile.map((id) => `${id} (changed by ${changedBy[id]})`).join(', ')}: after that the TPM does not open it`;
      findings.push(
        finding('pcr-volatile', volume, what, 'keep another way in, and seal again after such a change'),
      );
    }
    return findings;
  });
}

function checkTpm({ tpm }: Facts): Finding[] {
  if (tpm === null) return [];
  const { lockoutCounter, maxAuthFail, isLockedOut, persistentFree, countersFree } = tpm.properties;
  const findings: Finding[] = [];
  if (isLockedOut || lockoutCounter > 0) {
    const what = isLockedOut
      ? 'the TPM is in lockout: what is protected by a password does not open'
      : `${lockoutCounter} failed authorizations of ${maxAuthFail} until the TPM is in lockout`;
    findings.push(finding('tpm-lockout', 'TPM', what, 'tpm2_dictionarylockout --clear-lockout'));
  }
  if (persistentFree === 0) {
    const what =
      'it has no room for another persistent key: sealing fails where its storage key is not there yet';
    findings.push(
      finding(
        'tpm-full',
        'TPM',
        what,
        'tpm2_getcap handles-persistent lists them, tpm2_evictcontrol -c HANDLE removes one',
      ),
    );
  }
  if (countersFree === 0) {
    const what = 'it has no room for another NV counter: sealing with a new rollback counter fails';
    const fix = 'tpm2_getcap handles-nv-index lists what is taken, tpm2_nvundefine INDEX removes one';
    findings.push(finding('tpm-full', 'TPM', what, fix));
  }
  return findings;
}
