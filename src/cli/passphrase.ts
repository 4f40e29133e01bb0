import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';

/** What asking needs, of either program's world. */
export interface AskingWorld {
  readonly files: Files;
  readStandardInput(maxBytes: number): Promise<Secret>;
  askPassphrase(question: string, hint: string): Promise<Secret>;
}

export const passphraseHelp = `  --passphrase-file FILE
                    the passphrase, without the newline at its end; - for
                    standard input. Default: you are asked`;

/**
 * The passphrase of a backup, from a file or from a person, who types it twice where a wrong one would only show later.
 * @param file `-` is standard input
 * @throws AppError `usage`, `refused` (empty, or not the same twice; no terminal), `bad-config`, `stopped`
 */
export async function backupPassphrase(
  file: string | undefined,
  world: AskingWorld,
  { twice }: { readonly twice: boolean },
): Promise<Secret> {
  if (file !== undefined) return await fromFile(file, world);
  const hint = 'give --passphrase-file FILE, or - for standard input';
  const first = await world.askPassphrase('Passphrase of the backup:', hint);
  using second = twice ? await world.askPassphrase('Again:', hint) : null;
  if (first.length > 0 && (second === null || first.reveal().equals(second.reveal()))) return first;
  const wrong = first.length === 0 ? 'the passphrase is empty' : 'the second is not the first';
  first.wipe();
  throw new AppError('refused', `passphrase: ${wrong}`);
}

async function fromFile(file: string, world: AskingWorld): Promise<Secret> {
  const bytes =
    file === '-'
      ? (await world.readStandardInput(limits.keyBytes)).reveal()
      : await world.files.read(file, limits.keyBytes);
  if (bytes === null) throw new AppError('usage', `--passphrase-file: ${file}: no such file`);
  const end = bytes.at(-1) === 0x0a ? -1 : bytes.length;
  const passphrase = new Secret(bytes.subarray(0, end));
  if (passphrase.length > 0) return passphrase;
  throw new AppError('usage', '--passphrase-file: expected a passphrase, got nothing');
}
