import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { volumeName } from '../base/names.ts';
import type { Secret } from '../base/secret.ts';
import { findTarget, type Target } from '../enroll/target.ts';
import { freeId, Keyslots } from '../luks/keyslots.ts';
import { newRecoveryKey, recoveryTokenOf } from '../luks/recovery-key.ts';
import { absolute, type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { heal } from './enrolling.ts';
import { onlyOne } from './only-one.ts';
import { unlock } from './unlock.ts';
import type { World } from './world.ts';

const QRENCODE = '/usr/bin/qrencode';

const options = {
  ...placeOptions,
  device: { type: 'string' },
  'unlock-key-file': { type: 'string' },
  json: { type: 'boolean' },
} as const;

export const recoveryKeyCommand: Command = {
  name: 'recovery-key',
  summary: 'a key to write down, for when nothing else opens a volume',
  help: `usage: fetch-luks-key recovery-key VOLUME [OPTIONS]

Adds a keyslot with a random key of 64 letters, and shows it this once: as text,
and on a terminal as a QR code where qrencode is installed. Type it where the
passphrase is asked for. systemd-cryptenroll knows it as a recovery key.

  --device PATH     the volume's device or image, if crypttab has no line for it
  --unlock-key-file FILE
                    what opens the volume now, - for standard input; default:
                    its sealed key, or you are asked
  --json            print {"volume", "device", "keyslot", "recovery-key"}
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example:
  fetch-luks-key recovery-key data
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine('recovery-key', args, options, ['VOLUME']);
    const volume = volumeName(positionals[0] ?? '');
    const places = placesFrom(values);
    using _lock = await onlyOne('recovery-key', places.crypttab, world);
    await heal(volume, places, world);
    const target = await findTarget(volume, places.crypttab, absolute(values.device), world.files);
    const keyslots = new Keyslots(target.device, world);
    using passphrase = await unlock(volume, places, keyslots, values['unlock-key-file'], world);
    using key = newRecoveryKey(world.random);
    const keyslot = await add(target, keyslots, passphrase, key, world.signal);
    const text = key.reveal().toString('latin1');
    if (values.json) {
      const shown = { volume, device: target.device, keyslot, 'recovery-key': text };
      world.print(`${JSON.stringify(shown)}\n`);
    } else {
      world.print(`${text}\n`);
      if (world.standardOutputIsTerminal()) await showQrCode(key, world);
      world.say(`${volume}: this opens keyslot ${keyslot}; it is not shown again: keep it off this machine`);
    }
    return 0;
  },
};

/** @returns the keyslot, which the key has opened; when anything fails there is none */
async function add(
  { device, metadata }: Target,
  keyslots: Keyslots,
  passphrase: Secret,
  key: Secret,
  signal: AbortSignal,
): Promise<string> {
  const keyslot = freeId('keyslot', metadata.keyslots, device);
  const ids = metadata.tokens.map(({ id }) => id);
  const token = freeId('token', ids, device);
  try {
    await keyslots.add(keyslot, passphrase, key, signal);
    if (!(await keyslots.opens(key, signal, keyslot))) {
      throw new AppError('bug', `${device}: the new recovery key does not open keyslot ${keyslot}`);
    }
    await keyslots.addToken(token, recoveryTokenOf(keyslot), signal);
    return keyslot;
  } catch (thrown) {
    // Also after Ctrl-C.
    const { signal: never } = new AbortController();
    if (await keyslots.opens(key, never, keyslot)) await keyslots.remove(keyslot, never);
    throw thrown;
  }
}

/** The key goes by standard input: arguments are for all to see. */
async function showQrCode(key: Secret, { runner, print, say, signal }: World): Promise<void> {
  try {
    const { status, stdout } = await runner.run(QRENCODE, ['-t', 'UTF8', '-o', '-'], {
      stdin: key.reveal(),
      timeoutMs: limits.actionTimeoutMs,
      maxOutputBytes: limits.childOutputBytes,
      signal,
    });
    if (status === 0) print(stdout);
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'tool-missing') throw thrown;
    say('for a QR code, install the package qrencode, remove this recovery key, and make another');
  }
}
