import type { Test } from 'tap';
import { createAuthority, type Identity } from './certificates.ts';
import { run } from './run.ts';

export type Ended = Awaited<ReturnType<typeof run>>;

/** A host with Debian's Clevis and curl, whose certificate authorities are one: the test's. */
export interface ClevisHost {
  /** For a server on 127.0.0.1: a certificate that this host accepts. */
  readonly server: Identity;
  /** From another address of the loopback than 127.0.0.1. */
  readonly elsewhere: ClevisHost['run'];
  run(argv: readonly string[], input?: string | Uint8Array): Promise<Ended>;
  /** As the timer does it: with the contents of this file. */
  sendAlive(url: string, secretFile: string): Promise<Ended>;
}

export function clevisHost(t: Test): ClevisHost {
  const authority = createAuthority('test authority');
  const folder = t.testdir({ ca: authority.certificate.toString(), '.curlrc': 'interface = 127.0.0.2\n' });
  const environment = { CURL_CA_BUNDLE: `${folder}/ca` };
  const on =
    (more: Record<string, string>) =>
    (argv: readonly string[], input: string | Uint8Array = '') =>
      run(argv, Buffer.from(input), { ...environment, ...more });
  const here = on({});
  return {
    server: authority.issue({ names: ['127.0.0.1'] }),
    run: here,
    elsewhere: on({ CURL_HOME: folder }),
    sendAlive: (url, secretFile) => here(['curl', '-sSf', '--data', `@${secretFile}`, `${url}/alive`]),
  };
}
