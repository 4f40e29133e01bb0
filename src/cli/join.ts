import { AppError, asAppError } from '../base/errors.ts';
import { keyPinText } from '../base/key-pin.ts';
import { limits } from '../base/limits.ts';
import { Secret } from '../base/secret.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import { withServer } from '../config/edit.ts';
import { loadConfig } from '../config/load.ts';
import { isServerName } from '../config/server.ts';
import {
  onlyKey,
  serverKeys,
  serverKeysFolder,
  serverKeysPath,
  serverKeysText,
} from '../config/server-keys.ts';
import { identityToPem, makeIdentity } from '../identity/identity.ts';
import type { Succession } from '../identity/succession.ts';
import { type Kept, protect } from '../protection/protect.ts';
import type { ProtectSettings } from '../protection/settings.ts';
import { isProtected, protectionText } from '../protection/stored.ts';
import { connectTo } from '../remote/key-server.ts';
import { absolutePath, type Command, etcOption, parseCommandLine } from './command.ts';
import { type Invitation, onlyInvitation } from './invitation.ts';
import { alreadyJoined, askToJoin, checkKnown, leftKey } from './joining.ts';
import { keepaliveAnew } from './keepalive-anew.ts';
import type { World } from './world.ts';

const AGAIN = 'the server may have taken the invitation: run this again, with the same line';

export const joinCommand: Command = {
  name: 'join',
  summary: 'join a key server: reads its invitation from standard input',
  help: `usage: fetch-luks-key join [--name NAME] [--etc DIR] [--json] < LINE

Reads the line that 'luks-key-server invite' printed, makes this machine's key
for that server, and uses the invitation up. The server is known by its key,
which the line names, from then on. This machine's key is protected as
'protect-with-tpm:' in config.yaml says: by Parsec or the TPM where that works,
else in a file of mode 0600. When the answer is lost, the same line is good once
more here.

  --name NAME   what to call the server here; default: its host's name
  --rejoin      a new key for a server that is joined already, as the TPM is
                another one, with a line of 'luks-key-server invite --rejoin'
  --etc DIR     default /etc/fetch-luks-key
  --json        print {"server", "machine", "status", "fingerprint",
                "protected-with-tpm"}

example:
  ssh root@keys luks-key-server invite nas --url https://keys.example:7443 |
    fetch-luks-key join
`,

  async run(args, world) {
    const options = {
      ...etcOption,
      name: { type: 'string' },
      rejoin: { type: 'boolean' },
      json: { type: 'boolean' },
    } as const;
    const { values } = parseCommandLine('join', args, options);
    using line = await world.readStandardInput(limits.invitationLineBytes);
    const invitation = onlyInvitation(line.reveal().toString('latin1'));
    const server = values.name ?? invitation.url.hostname.replace(/^\[|\]$/g, '').replaceAll(':', '-');
    if (!isServerName(server)) {
      throw new AppError(
        'usage',
        `join: --name: expected letters, digits, dots, _ and -, got ${JSON.stringify(server)}`,
      );
    }
    const config = await loadConfig(world.files, values.etc);
    checkKnown(server, config.servers.get(server), invitation, values.rejoin ?? false);
    // config.yaml names files by absolute paths, wherever the handler is started.
    const etc = absolutePath(values.etc);
    const joined = await join(invitation, server, etc, config.protect, world);
    await keepaliveAnew(etc, world);
    if (values.json) {
      world.print(`${JSON.stringify({ server, machine: joined.name, ...joined.told })}\n`);
      return 0;
    }
    world.print(
      `joined ${server} as ${joined.name}\n` +
        `  server       ${invitation.url.origin}, ${keyPinText(invitation.pinSha256)}\n` +
        `  fingerprint  ${joined.told.fingerprint}\n` +
        `  our key      ${joined.path}, ${protectionText(joined.protection)}\n`,
    );
    if (joined.told.status === 'locked') {
      const { fingerprint } = joined.told;
      world.say(`on the server: luks-key-server allow ${joined.name} --fingerprint ${fingerprint}`);
    }
    return 0;
  },
};

/**
 * Nothing is left behind when it fails, but for a key that the server may have taken: it is on the disk before the server
 * sees it, and the next attempt goes on with it.
 */
export async function join(
  invitation: Invitation,
  server: string,
  etc: string,
  settings: ProtectSettings,
  world: World,
) {
  const { url, pinSha256, name } = invitation;
  const path = `${etc}/identity/${server}`;
  const left = await leftKey(`${path}.new`, settings, world);
  const { identity, protection } = left ?? (await newKey(`${path}.new`, name, settings, world));
  const tls = { clientCertificate: identity.certificate, clientKey: identity.key };
  let mayBeTaken = left !== null;
  try {
    const to = { url, keys: onlyKey(pinSha256) };
    const connected = async <T>(work: (connection: ServerConnection) => Promise<T>): Promise<T> => {
      const connection = await connectTo(to, tls, world.serverWorld.connector, world.signal);
      return await work(connection).finally(() => connection.close());
    };
    const before = left && (await connected((connection) => alreadyJoined(name, connection, world)));
    const answer =
      before ??
      (await connected((connection) => {
        mayBeTaken = true;
        return askToJoin(invitation.invitation, connection, world.signal);
      }));
    if (answer.name !== name) throw misnamed(answer.name, name);
    keepKeys(pinSha256, answer.chain, etc, world);
    await addServer(server, { url: url.origin, pin: keyPinText(pinSha256), identity: path }, etc, world);
    // Last: until then another attempt finds it.
    world.durable.rename(`${path}.new`, path);
    const told = {
      status: answer.status,
      fingerprint: keyPinText(identity.pinSha256),
      'protected-with-tpm': isProtected(protection),
    };
    return { name: answer.name, path, protection, told };
  } catch (thrown) {
    const error = asAppError(thrown);
    if (mayBeTaken && error.code !== 'refused') {
      throw new AppError(error.code, error.message, { hint: AGAIN, cause: thrown });
    }
    world.durable.remove(`${path}.new`);
    throw thrown;
  }
}

/** An invitation for another machine, whose line was changed: hosts of a site would not find each other. */
function misnamed(name: string, invited: string): AppError {
  return new AppError('refused', `the server calls this machine ${name}, and the invitation ${invited}`);
}

/** What came before this key, so that keys sealed then open again, and what is to follow. */
function keepKeys(pinSha256: Buffer, chain: readonly Succession[], etc: string, world: World): void {
  if (serverKeys(pinSha256, chain, null) === null) return;
  world.durable.makeFolder(serverKeysFolder(etc));
  world.durable.replace(serverKeysPath(etc, pinSha256), serverKeysText(chain, keyPinText(pinSha256)));
}

async function addServer(
  server: string,
  settings: Parameters<typeof withServer>[2],
  etc: string,
  world: World,
): Promise<void> {
  const file = `${etc}/config.yaml`;
  const text = (await world.files.read(file, limits.configBytes))?.toString() ?? '';
  write(`${file}.new`, Buffer.from(withServer(text, server, settings)), world);
  world.durable.rename(`${file}.new`, file);
}

async function newKey(path: string, name: string, settings: ProtectSettings, world: World) {
  const identity = makeIdentity(name, world.random);
  const { bytes, protection } = await keepable(identityToPem(identity), settings, world);
  world.durable.makeFolder(path.slice(0, path.lastIndexOf('/')));
  write(path, bytes, world);
  return { identity, protection };
}

/** As config.yaml wants it; where best effort does less than it might, somebody is told why. */
async function keepable(pem: Buffer, settings: ProtectSettings, world: World): Promise<Kept> {
  using secret = Secret.takeFrom(pem);
  const kept = await protect(secret, settings, world, world.signal);
  if (kept.faults.length > 0) {
    const how = kept.protection === 'none' ? 'as it is, for root alone' : `protected by ${kept.protection}`;
    world.say(`warning: this machine's key is kept ${how}: ${kept.faults.join('; ')}`);
  }
  return kept;
}

function write(path: string, bytes: Buffer, world: World): void {
  world.durable.create(path);
  world.durable.append(path, bytes.toString('latin1').trimEnd().split('\n'));
}
