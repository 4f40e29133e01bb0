import type { Random } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';

/** Nibbles as letters that every keyboard layout has in the same place (systemd, src/shared/recovery-key.c). */
const MODHEX = Buffer.from('cbdefghijklnrtuv');
const BYTES = 32;
const GROUP = 8;
const GROUPS = (2 * BYTES) / GROUP;

/** A recovery key as systemd-cryptenroll(1) makes one: 256 random bits in modhex, eight groups of eight letters. */
export function newRecoveryKey(random: Random): Secret {
  using bits = Secret.takeFrom(random.bytes(BYTES));
  const text = Buffer.alloc(GROUPS * (GROUP + 1) - 1, '-');
  for (const [i, byte] of bits.reveal().entries()) {
    const at = 2 * i + Math.floor((2 * i) / GROUP);
    text[at] = MODHEX[byte >> 4] as number;
    text[at + 1] = MODHEX[byte & 15] as number;
  }
  return Secret.takeFrom(text);
}

/** What tells that a keyslot is a recovery key's, to systemd too. */
export function recoveryTokenOf(keyslot: string): object {
  return { type: 'systemd-recovery', keyslots: [keyslot] };
}
