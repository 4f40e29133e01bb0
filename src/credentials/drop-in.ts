import type { CredentialAddress } from './address.ts';
import type { Form } from './place.ts';

/** A socket that services may ask, with the unit that makes it. */
export interface CredentialSocket {
  readonly unit: string;
  readonly path: string;
}

/** A process for each connection. */
export const ownProcessSocket: CredentialSocket = {
  unit: 'fetch-luks-key-credential@default.socket',
  path: '/run/fetch-luks-key/credentials/default.sock',
};

/** One process for all, whose death nobody answers for: for what systemd authenticates itself. */
export const sharedSocket: CredentialSocket = {
  unit: 'fetch-luks-key-encrypted.socket',
  path: '/run/fetch-luks-key/encrypted.sock',
};

export interface DropIn {
  readonly folder: string;
  readonly path: string;
  readonly text: string;
}

/** What makes systemd ask for a secret before it starts the service (systemd.exec(5), `LoadCredential=`). */
export function dropInFor(
  { unit, credential }: CredentialAddress,
  form: Form,
  socket: CredentialSocket,
): DropIn {
  const folder = `/etc/systemd/system/${unit}.d`;
  const setting = form === 'plain' ? 'LoadCredential' : 'LoadCredentialEncrypted';
  return {
    folder,
    path: `${folder}/50-fetch-luks-key-${credential}.conf`,
    text: `# Written by: fetch-luks-key credential install ${unit} ${credential}

[Unit]
Wants=${socket.unit}
After=${socket.unit}

[Service]
${setting}=${credential}:${socket.path}
# Whatever happens, not without it.
ExecStartPre=/usr/bin/test -s %d/${credential}
`,
  };
}
