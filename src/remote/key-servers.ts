import type { Config } from '../config/config.ts';
import type { KeyServer, KeyServers } from '../pins/pin.ts';
import type { ServerWorld } from './server-world.ts';

const none: KeyServers = { byName: () => null, byPin: () => null };

/** The servers that config.yaml names. What it takes to ask one is loaded only where there is one. */
export async function keyServersOf({ servers }: Config, world: ServerWorld): Promise<KeyServers> {
  if (servers.size === 0) return none;
  const { keyServer } = await import('./key-server.ts');
  const all: KeyServer[] = [...servers].map(([name, settings]) => keyServer(name, settings, world));
  return {
    byName: (name) => all.find((server) => server.name === name) ?? null,
    byPin: (pin) => all.find(({ names }) => names.some((name) => name.equals(pin))) ?? null,
  };
}
