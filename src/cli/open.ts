import { AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { SealedKey } from '../pins/pin.ts';
import { parseSealedKey } from '../pins/table.ts';
import { type Command, checkOutput, etcOption, outputOptions, parseCommandLine } from './command.ts';
import { openOnce } from './opening.ts';
import { knowingPins, pinFile, pinFileOption } from './tpm-pin.ts';
import type { World } from './world.ts';

export const openCommand: Command = {
  name: 'open',
  summary: 'open a sealed key: prints the secret',
  help: `usage: fetch-luks-key open FILE [--output - | --json] [--etc DIR] > SECRET

Opens a sealed key, one try of each pin, and writes the secret to standard
output, as 'clevis decrypt' does. FILE is - for standard input.

  --output -   write the secret even when standard output is a terminal
  --json       print {"pin": ..., "bytes": ..., "milliseconds": ...}
               instead of the secret
  --tpm2-pin-file FILE
               the PIN of the TPM's key, - for standard input; default: you are
               asked
  --etc DIR    default /etc/fetch-luks-key: its config.yaml names key servers

example:
  fetch-luks-key open /etc/fetch-luks-key/volumes/data.jwe |
    cryptsetup open --test-passphrase --token-type none --key-file=- /dev/sdb1
`,

  async run(args, base) {
    const options = { ...outputOptions, ...etcOption, ...pinFileOption };
    const { values, positionals } = parseCommandLine('open', args, options, ['FILE']);
    const world = knowingPins(base, { toOpen: pinFile(values['tpm2-pin-file']) });
    const [path = ''] = positionals;
    checkOutput('open', values);
    if (world.standardOutputIsTerminal() && values.output === undefined && !values.json) {
      throw new AppError('usage', 'open: standard output is a terminal, and this is a secret', {
        hint: 'pipe it into the program that needs it, or say --output -',
      });
    }
    const sealed = await read(path, world);
    const startMs = world.clock.nowMs();
    using secret = await openOnce(sealed, path, values.etc, world);
    const milliseconds = Math.round(world.clock.nowMs() - startMs);
    world.print(
      values.json
        ? `${JSON.stringify({ pin: sealed.title, bytes: secret.length, milliseconds })}\n`
        : secret.reveal(),
    );
    return 0;
  },
};

async function read(path: string, world: World): Promise<SealedKey> {
  const bytes =
    path === '-'
      ? (await world.readStandardInput(limits.sealedKeyBytes)).reveal()
      : await world.files.read(path, limits.sealedKeyBytes);
  if (bytes === null) throw new AppError('usage', `open: ${path}: no such file`);
  try {
    return parseSealedKey(bytes.toString('latin1'));
  } catch (thrown) {
    throw asAppError(thrown).at(path === '-' ? 'standard input' : path);
  }
}
