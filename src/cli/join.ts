import { AppError, asAppError } from '../base/errors.ts';
import { keyPinText } from '../base/key-pin.ts';
import { limits } from '../base/limits.ts';
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
import { ask, connectTo } from '../remote/key-server.ts';
import { join as joinWire } from '../wire/machine.ts';
import { absolute, type Command, etcOption, parseCommandLine } from './command.ts';
import { type Invitation, onlyInvitation } from './invitation.ts';
import type { World } from './world.ts';

export const joinCommand: Command = {
  name: 'join',
  summary: 'join a key server: reads its invitation from standard input',
  help: `usage: fetch-luks-key join [--name NAME] [--etc DIR] [--json] < LINE

Reads the line that 'luks-key-server invite' printed, makes this machine's key
for that server, and uses the invitation up. The server is known by its key,
which the line names, from then on. This machine's key is kept encrypted to the
TPM where there is one, else in a file of mode 0600.

  --name NAME   what to call the server here; default: its host's name
  --etc DIR     default /etc/fetch-luks-key
  --json        print {"server", "machine", "status", "fingerprint",
                "protected-with-tpm"}

example:
  ssh root@keys luks-key-server invite nas --url https://keys.example:7443 |
    fetch-luks-key join
`,

  async run(args, world) {
    const options = { ...etcOption, name: { type: 'string' }, json: { type: 'boolean' } } as const;
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
    if (config.servers.has(server)) {
      throw new AppError('usage', `join: there is a server ${server} already`, {
        hint: `fetch-luks-key leave ${server}, or give this one another --name`,
      });
    }
    // config.yaml names files by absolute paths, wherever the handler is started.
    const etc = absolute(values.etc) ?? values.etc;
    const joined = await join(invitation, server, etc, world);
    if (values.json) {
      world.print(`${JSON.stringify({ server, machine: joined.name, ...joined.told })}\n`);
      return 0;
    }
    world.print(
      `joined ${server} as ${joined.name}\n` +
        `  server       ${invitation.url.origin}, ${keyPinText(invitation.pinSha256)}\n` +
        `  fingerprint  ${joined.told.fingerprint}\n` +
        `  our key      ${joined.path}, ${joined.told['protected-with-tpm'] ? 'encrypted to the TPM' : 'as it is'}\n`,
    );
    if (joined.told.status === 'locked') {
      const { fingerprint } = joined.told;
      world.say(`on the server: luks-key-server allow ${joined.name} --fingerprint ${fingerprint}`);
    }
    return 0;
  },
};

/** Nothing is left behind when it fails; the invitation is used up last. */
export async function join(invitation: Invitation, server: string, etc: string, world: World) {
  const { url, pinSha256, name } = invitation;
  const identity = makeIdentity(name, world.random);
  const path = `${etc}/identity/${server}`;
  const pem = identityToPem(identity);
  const kept = await keepable(pem, world);
  world.durable.makeFolder(`${etc}/identity`);
  write(`${path}.new`, kept.bytes, world);
  const tls = { clientCertificate: identity.certificate, clientKey: identity.key };
  const connection = await connectTo(
    { url, keys: onlyKey(pinSha256) },
    tls,
    world.serverWorld.connector,
    world.signal,
  );
  try {
    const body = { invitation: invitation.invitation };
    const asking = ask(connection, 'POST', '/v1/join', body, joinWire.response, world.signal);
    const answer = await asking.catch(explain);
    if (answer.name !== name) {
      throw new AppError(
        'refused',
        `the server calls this machine ${answer.name}, and the invitation ${name}`,
      );
    }
    keepKeys(pinSha256, answer.chain, etc, world);
    world.durable.rename(`${path}.new`, path);
    const file = `${etc}/config.yaml`;
    const text = (await world.files.read(file, limits.configBytes))?.toString() ?? '';
    const settings = { url: url.origin, pin: keyPinText(pinSha256), identity: path };
    write(`${file}.new`, Buffer.from(withServer(text, server, settings)), world);
    world.durable.rename(`${file}.new`, file);
    const told = {
      status: answer.status,
      fingerprint: keyPinText(identity.pinSha256),
      'protected-with-tpm': kept.byTpm,
    };
    return { name: answer.name, path, told };
  } finally {
    connection.close();
    world.durable.remove(`${path}.new`);
  }
}

/** What came before this key, so that keys sealed then open again, and what is to follow. */
function keepKeys(pinSha256: Buffer, chain: readonly Succession[], etc: string, world: World): void {
  if (serverKeys(pinSha256, chain, null) === null) return;
  world.durable.makeFolder(serverKeysFolder(etc));
  world.durable.replace(serverKeysPath(etc, pinSha256), serverKeysText(chain, keyPinText(pinSha256)));
}

/** The server tells no more of an invitation than of a key. */
function explain(thrown: unknown): never {
  if (!(thrown instanceof AppError) || thrown.code !== 'refused') throw thrown;
  throw new AppError('refused', 'the server does not take this invitation', {
    cause: thrown,
    hint: 'it is good once, for one hour: ask for another one',
  });
}

/** Encrypted to the TPM where that works; else as it is, and somebody is told why. */
async function keepable(pem: Buffer, world: World): Promise<{ bytes: Buffer; byTpm: boolean }> {
  try {
    return { bytes: await world.encryptIdentity(pem), byTpm: true };
  } catch (thrown) {
    const error = asAppError(thrown);
    if (error.code !== 'unavailable' && error.code !== 'tool-missing') throw error;
    world.say(
      `warning: this machine's key is kept as it is, for root alone, as the TPM cannot protect it: ${error.message}`,
    );
    return { bytes: pem, byTpm: false };
  }
}

function write(path: string, bytes: Buffer, world: World): void {
  world.durable.create(path);
  world.durable.append(path, bytes.toString('latin1').trimEnd().split('\n'));
}
