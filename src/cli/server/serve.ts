import { AppError } from '../../base/errors.ts';
import { parseCommandLine } from '../command.ts';
import type { ServerCommand } from './world.ts';

export const serveCommand: ServerCommand = {
  name: 'serve',
  summary: 'run the server; started by systemd',
  help: `usage: luks-key-server serve [--listen ADDRESS:PORT] [--state DIR]
                           [--store LOCATION] [--socket PATH] [--identity FILE]

Serves machines over HTTPS, and operators on a socket of its own. Its key, its
certificate and its store are made at the first start.

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
      listen: { type: 'string', default: '[::]:7443' },
      state: { type: 'string', default: '/var/lib/luks-key-server' },
      store: { type: 'string' },
      socket: { type: 'string', default: '/run/luks-key-server/operator.sock' },
      identity: { type: 'string' },
    });
    await world.serve({
      ...placeOf(values.listen),
      state: values.state,
      store: values.store ?? `${values.state}/keys.db`,
      socket: values.socket,
      identity: values.identity ?? null,
    });
    return 0;
  },
};

function placeOf(text: string): { host: string; port: number } {
  const [, bracketed, plain, port = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535) {
    throw new AppError('usage', `serve: --listen: expected ADDRESS:PORT, got ${JSON.stringify(text)}`, {
      hint: 'for example [::]:7443 or 192.0.2.1:7443',
    });
  }
  return { host, port: Number(port) };
}
