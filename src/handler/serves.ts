import { AppError } from '../base/errors.ts';
import type { Connection } from '../base/ports.ts';
import type { Config } from '../config/config.ts';
import type { SocketKind } from '../config/socket.ts';
import type { Form } from '../credentials/place.ts';
import type { Request } from './request.ts';

/** A request that its socket serves. */
export type Served =
  | Extract<Request, { kind: 'volume' }>
  /** `forms`: in which its secret may go there. */
  | (Extract<Request, { kind: 'credential' }> & { readonly forms: readonly Form[] });

/**
 * What may go where: when we die at work, systemd takes what has come for all. A volume's key that is cut off opens
 * nothing, and systemd authenticates an encrypted credential itself; with a plain one a service would start, so it goes
 * only where the unit's ExecStopPost= has the connection too.
 */
const safe: Readonly<Record<Connection['way'], readonly SocketKind[]>> = {
  descriptor: ['volumes', 'encrypted-credentials'],
  'standard-input': ['credentials', 'encrypted-credentials'],
  listener: ['encrypted-credentials'],
};

/** Where config.yaml says nothing. */
const usual: typeof safe = { ...safe, descriptor: ['volumes'] };

/** Users of root's sockets. @throws AppError `refused` */
export function mustBeTrusted({ peer, peerIsTrusted }: Connection): void {
  if (peerIsTrusted) return;
  throw new AppError('refused', `process ${peer.pid} of user ${peer.uid} may not ask for keys`);
}

/**
 * @throws AppError `refused` for what this socket does not serve; `bad-config` for what it shall serve and should not
 */
export function servedOn(
  { socketPath, way }: Pick<Connection, 'socketPath' | 'way'>,
  request: Request,
  { sockets }: Pick<Config, 'sockets'>,
): Served {
  const said = sockets.get(socketPath)?.serve;
  const serves = said ?? usual[way];
  const unsafe = serves.find((kind) => !safe[way].includes(kind));
  if (unsafe !== undefined) {
    throw new AppError('bad-config', `sockets.${socketPath}.serve: ${unsafe} may not go there`, {
      hint: 'they go where their own unit speaks for a handler that dies: see docs/CREDENTIALS.md',
    });
  }
  if (request.kind === 'volume' && serves.includes('volumes')) return request;
  const forms = ([] as Form[]).concat(
    serves.includes('credentials') ? 'plain' : [],
    serves.includes('encrypted-credentials') ? 'encrypted' : [],
  );
  if (request.kind === 'credential' && forms.length > 0) return { ...request, forms };
  throw notServed(request, serves, said !== undefined);
}

const titles: Readonly<Record<SocketKind, string>> = {
  volumes: 'volumes',
  credentials: 'service credentials',
  'encrypted-credentials': 'encrypted service credentials',
};

function notServed(request: Request, serves: readonly SocketKind[], isSaid: boolean): AppError {
  if (request.kind === 'blob') {
    return new AppError(
      'refused',
      `a blob for ${request.token} was asked for, and only plain keys are served`,
      {
        hint: `remove ${request.token.split('-')[0]}-… options from the volume's line in /etc/crypttab`,
      },
    );
  }
  // Where both go, the first says it all.
  const [first = 'volumes'] = serves;
  const [asked, fix] =
    request.kind === 'credential'
      ? ['service credentials', 'LoadCredential= should name /run/fetch-luks-key/credentials/default.sock']
      : ['volumes', '/etc/crypttab should name /run/fetch-luks-key/default.sock'];
  const hint = isSaid ? 'config.yaml says so, under sockets' : fix;
  return new AppError('refused', `this socket serves ${titles[first]}, not ${asked}`, { hint });
}
