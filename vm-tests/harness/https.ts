import { selfSigned } from '../../test/support/certificates.ts';
import type { GuestFile } from './guest.ts';

const PORT = 7501;
const FOLDER = '/etc/boot-test-https';

/** An HTTPS server inside the guest, on its own loopback, that answers each request with the same bytes. */
export interface InnerHttps {
  readonly url: string;
  /** `pin:` of config.yaml. */
  readonly pin: string;
  /** The server's unit; it is to be enabled. */
  readonly unit: string;
  readonly files: Readonly<Record<string, GuestFile>>;
}

export function innerHttps(body: string): InnerHttps {
  const { certificate, key, pinSha256 } = selfSigned({ names: ['127.0.0.1'] });
  const unit = 'boot-test-https.service';
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
  return {
    url: `https://127.0.0.1:${PORT}/key`,
    pin: `sha256/${pinSha256.toString('base64url')}`,
    unit,
    files: {
      [`${FOLDER}/pem`]: { content: `${certificate}${key}`, mode: 0o600 },
      [`${FOLDER}/answer`]: { content: answer },
      // It reads the head of the request, to its empty line.
      [`${FOLDER}/serve`]: { content: `sed '/^\\r$/q' >/dev/null; cat ${FOLDER}/answer\n` },
      [`/etc/systemd/system/${unit}`]: { content: UNIT },
    },
  };
}

const UNIT = `[Unit]
Description=HTTPS server for this test
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/socat OPENSSL-LISTEN:${PORT},bind=127.0.0.1,reuseaddr,fork,cert=${FOLDER}/pem,verify=0 EXEC:"/bin/sh ${FOLDER}/serve"
[Install]
WantedBy=sysinit.target
`;
