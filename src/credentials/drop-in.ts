import type { CredentialAddress } from './address.ts';

const INSTANCE = 'default';
const SOCKET = `/run/fetch-luks-key/credentials/${INSTANCE}.sock`;

export interface DropIn {
  readonly folder: string;
  readonly path: string;
  readonly text: string;
}

/** What makes systemd ask for a secret before it starts the service (systemd.exec(5), `LoadCredential=`). */
export function dropInFor({ unit, credential }: CredentialAddress): DropIn {
  const folder = `/etc/systemd/system/${unit}.d`;
  return {
    folder,
    path: `${folder}/50-fetch-luks-key-${credential}.conf`,
    text: `# Written by: fetch-luks-key credential install ${unit} ${credential}

[Unit]
Wants=fetch-luks-key-credential@${INSTANCE}.socket
After=fetch-luks-key-credential@${INSTANCE}.socket

[Service]
LoadCredential=${credential}:${SOCKET}
# Whatever happens, not without it.
ExecStartPre=/usr/bin/test -s %d/${credential}
`,
  };
}
