import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';

const NEWLINE = 0x0a;

/** What asking needs, of either program's world. */
export interface AskingWorld {
  readonly files: Files;
  readStandardInput(maxBytes: number): Promise<Secret>;
  askPassphrase(question: string, hint: string): Promise<Secret>;
}

/** Something that a person chooses, and types. */
export interface Chosen {
  /** `passphrase` */
  readonly what: string;
  readonly question: string;
  /** Of a file that has it: `--passphrase-file` */
  readonly option: string;
}

export const passphraseHelp = `  --passphrase-file FILE
                    the passphrase, without the newline at its end; - for
                    standard input. Default: you are asked`;

/** A backup's. */
export const backupPassphrase: Chosen = {
  what: 'passphrase',
  question: 'Passphrase of the backup:',
  option: '--passphrase-file',
};

/**
 * From a file, without the newline at its end, or from a person, who types it twice where a wrong one would only show
 * later.
 * @param file `-` is standard input
 * @throws AppError `usage`, `refused` (empty, or not the same twice; no terminal), `bad-config`, `stopped`
 */
export async function chosen(
  one: Chosen,
  file: string | undefined,
  world: AskingWorld,
  { twice }: { readonly twice: boolean },
): Promise<Secret> {
  const { what, question, option } = one;
  if (file !== undefined) return await fromFile(one, file, world);
  const hint = `give ${option} FILE, or - for standard input`;
  const first = await world.askPassphrase(question, hint);
  using second = twice ? await world.askPassphrase('Again:', hint) : null;
  if (first.length > 0 && (second === null || first.reveal().equals(second.reveal()))) return first;
  const wrong = first.length === 0 ? `the ${what} is empty` : 'the second is not the first';
  first.wipe();
  throw new AppError('refused', `${what}: ${wrong}`);
}

async function fromFile({ what, option }: Chosen, file: string, world: AskingWorld): Promise<Secret> {
  const bytes =
    file === '-'
      ? (await world.readStandardInput(limits.keyBytes)).reveal()
      : await world.files.read(file, limits.keyBytes);
  if (bytes === null) throw new AppError('usage', `${option}: ${file}: no such file`);
  const end = bytes.at(-1) === NEWLINE ? -1 : bytes.length;
  const secret = new Secret(bytes.subarray(0, end));
  if (secret.length > 0) return secret;
  throw new AppError('usage', `${option}: expected a ${what}, got nothing`);
}
