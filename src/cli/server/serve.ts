import { AppError } from '../../base/errors.ts';
import { type ListenAddress, parseListenAddress } from '../../config/place.ts';
import { parseCommandLine } from './command-line.ts';
import type { ServerCommand } from './world.ts';

export const serveCommand: ServerCommand = {
  name: 'serve',
  summary: 'run the server; started by systemd',
  help: `usage: luks-key-server serve [--config FILE] [--listen ADDRESS:PORT]
                             [--state DIR] [--store LOCATION] [--socket PATH]
                             [--identity FILE]

Serves machines over HTTPS, and operators on a socket of its own. Its key, its
certificate and its store are made at the first start.

  --config FILE          default /etc/luks-key-server/config.yaml, which may be
                         absent; the other options take the place of what it says
  --listen ADDRESS:PORT  default [::]:7443
  --state DIR            default /var/lib/luks-key-server
  --store LOCATION       an SQLite file, default DIR/keys.db; or the name of a
                         file that holds a postgres:// URL, as file:PATH
  --socket PATH          default /run/luks-key-server/operator.sock
  --identity FILE        PEM of key and certificate in place of its own

The master key is the credential 'master-key' (systemd.exec(5),
LoadCredentialEncrypted=), else DIR/master-key, which is made.

example:
  luks-key-server serve --listen 127.0.0.1:7443 --state /tmp/server \\
    --socket /tmp/server/operator.sock
`,

  async run(args, world) {
    const { values } = parseCommandLine('serve', args, {
      config: { type: 'string' },
      listen: { type: 'string' },
      state: { type: 'string' },
      store: { type: 'string' },
      socket: { type: 'string' },
      identity: { type: 'string' },
    });
    const config = await world.serverConfig(values.config ?? null);
    const state = values.state ?? config.state;
    await world.serve({
      ...config,
      listen: values.listen === undefined ? config.listen : listenAddress(values.listen),
      state,
      store: values.store ?? config.store ?? `${state}/keys.db`,
      socket: values.socket ?? config.socket,
      identity: values.identity ?? config.identity,
    });
    return 0;
  },
};

function listenAddress(text: string): ListenAddress {
  const address = parseListenAddress(text);
  if (address !== null) return address;
  throw new AppError('usage', `serve: --listen: expected ADDRESS:PORT, got ${JSON.stringify(text)}`, {
    hint: 'for example [::]:7443 or 192.0.2.1:7443',
  });
}
