import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { withServer } from '../config/edit.ts';
import { loadConfig } from '../config/load.ts';
import { serverKeysPath } from '../config/server-keys.ts';
import { headsFolder } from '../keepalive/head-witness.ts';
import { type Command, etcOption, parseCommandLine } from './command.ts';
import { keepaliveAnew } from './keepalive-anew.ts';
import type { World } from './world.ts';

export const leaveCommand: Command = {
  name: 'leave',
  summary: 'forget a key server, and this machine’s key for it',
  help: `usage: fetch-luks-key leave SERVER [--etc DIR]

Undoes join: SERVER goes out of config.yaml, and this machine's key for it is
deleted. Sealed keys that need the server do not open any more.

  --etc DIR   default /etc/fetch-luks-key

example:
  fetch-luks-key leave keys.example
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine('leave', args, etcOption, ['SERVER']);
    const [name = ''] = positionals;
    await leave(name, values.etc, world);
    await keepaliveAnew(values.etc, world);
    world.print(`left ${name}\n`);
    return 0;
  },
};

/** @throws AppError `usage` when it was never joined */
export async function leave(name: string, etc: string, world: World): Promise<void> {
  const { servers, site } = await loadConfig(world.files, etc);
  const settings = servers.get(name);
  if (settings === undefined) {
    throw new AppError('usage', `leave: no server ${JSON.stringify(name)} in ${etc}/config.yaml`);
  }
  if (site?.hosts.includes(name)) {
    throw new AppError('usage', `leave: ${name} is a host of this machine's site`, {
      hint: `fetch-luks-key site remove ${name}`,
    });
  }
  const file = `${etc}/config.yaml`;
  const text = (await world.files.read(file, limits.configBytes))?.toString() ?? '';
  world.durable.create(`${file}.new`);
  world.durable.append(`${file}.new`, withServer(text, name, null).trimEnd().split('\n'));
  world.durable.rename(`${file}.new`, file);
  world.durable.remove(settings.identity);
  // Another server of that name has another log.
  const heads = `${headsFolder(etc)}/${name}`;
  const keys = serverKeysPath(etc, settings.pinSha256);
  for (const path of [heads, keys]) if (world.durable.size(path) !== null) world.durable.remove(path);
}
