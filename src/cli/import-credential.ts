import { AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Secret } from '../base/secret.ts';
import { credentialAddress } from '../credentials/address.ts';
import { type CredentialKey, credentialKeys } from '../creds/credentials.ts';
import { parseSealedKey } from '../pins/table.ts';
import { type Command, etcOption, parseCommandLine } from './command.ts';
import { openOnce } from './opening.ts';
import { parsePinConfig } from './pin-config.ts';
import { sealAs } from './sealing.ts';
import { storeSecret } from './stored-secret.ts';
import { knowingPins, oldAndNew, pinFileOption, type SealingWorld } from './tpm-pin.ts';
import type { World } from './world.ts';

const options = {
  ...etcOption,
  ...pinFileOption,
  name: { type: 'string' },
  credential: { type: 'string' },
  encrypted: { type: 'boolean' },
  back: { type: 'boolean' },
  'with-key': { type: 'string' },
  'tpm2-pcrs': { type: 'string' },
  'not-after': { type: 'string' },
  yes: { type: 'boolean', short: 'y' },
  json: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseCommandLine<typeof options>>['values'];

export const importCredentialCommand: Command = {
  name: 'import-credential',
  summary: "systemd's encrypted credential into a sealed key, and back",
  help: `usage: fetch-luks-key import-credential FILE PIN CONFIG [--name NAME]
                             [--credential UNIT/ID [--encrypted]] [-y]
                             [--json] [--etc DIR] > SEALED-KEY
       fetch-luks-key import-credential --back SEALED-KEY --name NAME
                             [--with-key KEY] [--tpm2-pcrs LIST]
                             [--not-after TIME] [--json] [--etc DIR]
                             > CREDENTIAL

Has systemd-creds(1) decrypt a credential, and seals what is in it to another
policy, as 'seal' does; or the other way round. The secret is in memory alone. A
credential of another name or another host, and one whose time is over, is
refused. FILE and SEALED-KEY are - for standard input.

  --name NAME      the credential's own name; default: FILE's, without .cred
  --credential UNIT/ID
                   keep it as the secret of a service, as 'seal' does
  --encrypted      and that as 'seal --encrypted' does
  --back           the other way
  --with-key KEY   host, tpm2, host+tpm2 or auto; default auto
  --tpm2-pcrs LIST PCRs as in 7+11; default systemd's
  --not-after TIME as in systemd.time(7); default: for ever
  --tpm2-pin-file FILE
                   the PIN of the TPM's key, - for standard input; default: you
                   are asked
  -y, --yes        trust a Tang server's keys without being asked
  --json           print {"sealed-key" or "path", "pin"}; with --back
                   {"credential", "name"}
  --etc DIR        default /etc/fetch-luks-key

example:
  fetch-luks-key import-credential /etc/credstore.encrypted/tls-key \\
    --credential nginx.service/tls-key remote '{"server": "home"}'
`,

  async run(args, base) {
    const names = args.includes('--back') ? ['SEALED-KEY'] : ['FILE', 'PIN', 'CONFIG'];
    const { values, positionals } = parseCommandLine('import-credential', args, options, names);
    const world = knowingPins(base, oldAndNew(values));
    const [path = '', pin = '', configText = ''] = positionals;
    const misplaced = (values.back ? ONWARD : BACK).find((option) => values[option] !== undefined);
    if (misplaced !== undefined || (values.encrypted && values.credential === undefined)) {
      throw new AppError('usage', `import-credential: --${misplaced ?? 'encrypted'} is of no use here`, {
        hint: 'see fetch-luks-key import-credential --help',
      });
    }
    if (values.back) return await back(path, values, world);
    return await onward(path, pin, parsePinConfig('import-credential', configText), values, world);
  },
};

const ONWARD = ['credential', 'encrypted', 'yes'] as const;
const BACK = ['with-key', 'tpm2-pcrs', 'not-after'] as const;

async function onward(
  path: string,
  pin: string,
  config: unknown,
  values: Values,
  world: SealingWorld,
): Promise<number> {
  const name = values.name ?? path.replace(/^.*\//, '').replace(/\.cred$/, '');
  const address = values.credential === undefined ? null : credentialAddress(values.credential);
  const credential = await input(path, world);
  using secret = await world.credentials.decrypt(credential, name, world.signal).catch((thrown: unknown) => {
    throw asAppError(thrown).at(shownAs(path));
  });
  const [etc, trusting] = [values.etc, values.yes ?? false];
  const most = address === null ? limits.keyBytes : limits.credentialBytes;
  if (secret.length === 0 || secret.length > most) {
    throw new AppError(
      'usage',
      `${shownAs(path)}: expected a secret of 1 to ${most} bytes, got ${secret.length}`,
    );
  }
  if (address === null) {
    const sealedKey = await sealAs('import-credential', { pin, config, etc, trusting }, secret, world);
    world.print(values.json ? `${JSON.stringify({ 'sealed-key': sealedKey, pin })}\n` : sealedKey);
    return 0;
  }
  const place = { etc, address, form: values.encrypted ? 'encrypted' : 'plain' } as const;
  const record = { pin, config: config as object };
  const kept = await storeSecret('import-credential', place, record, secret, null, trusting, world);
  if (values.json) world.print(`${JSON.stringify({ path: kept, pin })}\n`);
  else world.say(`wrote ${kept}`);
  return 0;
}

async function back(path: string, values: Values, world: SealingWorld): Promise<number> {
  const { name, 'with-key': key = 'auto', 'tpm2-pcrs': pcrs = null, 'not-after': notAfter = null } = values;
  if (name === undefined) {
    throw new AppError('usage', 'import-credential: --back: expected --name beside it', {
      hint: 'systemd opens a credential under its own name alone',
    });
  }
  if (!isCredentialKey(key)) {
    throw new AppError('usage', `--with-key: expected one of ${credentialKeys.join(', ')}, got ${key}`);
  }
  const text = (await input(path, world)).toString('latin1');
  using secret = await open(text, path, values.etc, world);
  const credential = await world.credentials.encrypt(secret, { name, key, pcrs, notAfter }, world.signal);
  const json = () => `${JSON.stringify({ credential: credential.toString('latin1'), name })}\n`;
  world.print(values.json ? json() : credential);
  return 0;
}

async function open(text: string, path: string, etc: string, world: World): Promise<Secret> {
  try {
    return await openOnce(parseSealedKey(text), path, etc, world);
  } catch (thrown) {
    throw asAppError(thrown).at(shownAs(path));
  }
}

async function input(path: string, world: World): Promise<Buffer> {
  const most = limits.sealedKeyBytes;
  const bytes =
    path === '-' ? (await world.readStandardInput(most)).reveal() : await world.files.read(path, most);
  if (bytes !== null) return bytes;
  throw new AppError('usage', `import-credential: ${path}: no such file`);
}

const shownAs = (path: string) => (path === '-' ? 'standard input' : path);

function isCredentialKey(text: string): text is CredentialKey {
  return credentialKeys.some((key) => key === text);
}
