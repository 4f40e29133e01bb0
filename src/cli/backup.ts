import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { volumeName } from '../base/names.ts';
import type { ScratchFolder } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { loadConfig } from '../config/load.ts';
import { findTarget } from '../enroll/target.ts';
import { encryptToPassphrase, isTakenAtJosesPrompt } from '../jwe/passphrase.ts';
import { jweOf } from '../luks/tokens.ts';
import { absolute, type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import { onlyOne } from './only-one.ts';
import { backupPassphrase, chosen } from './passphrase.ts';
import type { World } from './world.ts';

const TAR = '/usr/bin/tar';
const CRYPTSETUP = '/usr/sbin/cryptsetup';

const options = {
  ...placeOptions,
  device: { type: 'string' },
  'passphrase-file': { type: 'string' },
  json: { type: 'boolean' },
} as const;

export const backupCommand: Command = {
  name: 'backup',
  summary: "a volume's header and configuration, encrypted, in one file",
  help: `usage: fetch-luks-key backup VOLUME FILE [OPTIONS]

Writes the volume's LUKS header, its sealed keys, crypttab and
/etc/fetch-luks-key without this machine's private keys into a new FILE,
encrypted to a passphrase. Keep it elsewhere. To open it, nothing of ours is
needed:
  jose jwe dec -p -i FILE | tar -xz
or, as its prompt takes no spaces, nor letters beyond ASCII, from a file:
  printf '{"kty":"oct","k":"%s"}' "$(jose b64 enc -I PASSPHRASE-FILE)" |
    jose jwe dec -k - -i FILE | tar -xz
A header that is restored has the keys of its time again: it undoes rotate. So
does whoever has this file, its passphrase, and an old key.

  --device PATH     the volume's device or image, if crypttab has no line for it
  --passphrase-file FILE
                    the passphrase, without the newline at its end; - for
                    standard input. Default: you are asked, twice
  --json            print {"volume", "device", "file", "bytes"}
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example:
  fetch-luks-key backup data /media/usb/data.backup
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine('backup', args, options, ['VOLUME', 'FILE']);
    const volume = volumeName(positionals[0] ?? '');
    const path = absolute(positionals[1]) ?? '';
    if (world.durable.size(path) !== null) {
      throw new AppError('refused', `${path}: is there already`, { hint: 'name a new file' });
    }
    const places = placesFrom(values);
    using _lock = await onlyOne('backup', places.crypttab, world);
    const target = await findTarget(volume, places.crypttab, absolute(values.device), world.files);
    using passphrase = await chosen(backupPassphrase, values['passphrase-file'], world, { twice: true });
    using scratch = world.scratchFolder();
    await succeed(
      CRYPTSETUP,
      ['luksHeaderBackup', target.device, '--header-backup-file', `${scratch.path}/header.img`],
      world,
    );
    scratch.write('crypttab', target.crypttab.toString());
    for (const token of target.metadata.tokens) {
      const sealedKey = jweOf(token);
      if (sealedKey !== null) scratch.write(`token-${token.id}.jwe`, sealedKey);
    }
    using archive = await archiveOf(scratch, places.etc, world);
    const text = encryptToPassphrase(passphrase, archive, world.random);
    world.durable.replace(path, Buffer.from(text));
    const line = `${volume}: backed up to ${path}; restoring its header undoes rotate`;
    if (!isTakenAtJosesPrompt(passphrase)) {
      world.say('note: at its prompt jose(1) takes no spaces, nor letters beyond ASCII: see --help');
    }
    const shown = { volume, device: target.device, file: path, bytes: text.length };
    world.print(values.json ? `${JSON.stringify(shown)}\n` : `${line}\n`);
    return 0;
  },
};

async function archiveOf(scratch: ScratchFolder, etc: string, world: World): Promise<Secret> {
  const folder = plainPath(etc);
  const base = folder.slice(folder.lastIndexOf('/') + 1);
  const hasEtc = (await world.files.mode(folder)) !== null;
  const parent = folder.slice(0, folder.lastIndexOf('/')) || '/';
  const secrets = (await privatePaths(etc, world))
    .filter((path) => path.startsWith(`${folder}/`))
    .map((path) => `--exclude=${base}${path.slice(folder.length)}`);
  // What patterns mean is not for a file's name to say; the last one is for identities that are in use no more.
  const excluded = ['--anchored', '--no-wildcards', ...secrets, '--wildcards', `--exclude=${base}/identity*`];
  const configuration = hasEtc ? [...excluded, '-C', parent, base] : [];
  const args = ['-cz', '-f', '-', '-C', scratch.path, '.', ...configuration];
  return Secret.takeFrom(await succeed(TAR, args, world));
}

/** Private keys by which others know this machine. @throws AppError `bad-config`: else nobody knows where they are */
async function privatePaths(etc: string, { files }: World): Promise<string[]> {
  const { servers, volumes } = await loadConfig(files, etc);
  const identities = [...servers.values()].map(({ identity }) => identity);
  const keys = [...volumes.values()].flatMap(({ url }) => url?.client?.key ?? []);
  return [...identities, ...keys].map(plainPath);
}

/** Without `//`, `/./`, `/../` and a slash at the end. @param path absolute */
function plainPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

async function succeed(tool: string, args: readonly string[], world: World): Promise<Buffer> {
  const { status, stdout, stderr } = await world.runner.run(tool, args, {
    timeoutMs: limits.cryptsetupTimeoutMs,
    maxOutputBytes: limits.backupBytes,
    signal: world.signal,
  });
  if (status === 0) return stdout;
  const reason = stderr.trim().split('\n').at(-1) ?? '';
  throw new AppError('unavailable', `${tool}: ${reason || `exit status ${status}`}`);
}
