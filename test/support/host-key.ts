import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { ownFolder } from './tpm.ts';

export interface HostKey {
  /** /var/lib/systemd of what runs under `wrapper`: systemd-creds(1) keeps its host's key there. */
  readonly state: string;
  /** Program and arguments before a command. */
  readonly wrapper: string[];
}

/** A host of its own, as far as systemd's encrypted credentials are concerned. */
export function hostKey(t: Test): HostKey {
  const folder = ownFolder(t);
  const state = join(folder, 'state');
  mkdirSync(state);
  const script = join(folder, 'with-host-key');
  writeFileSync(script, `#!/bin/sh\nmount --bind ${state} /var/lib/systemd && exec "$@"\n`);
  chmodSync(script, 0o755);
  return { state, wrapper: ['/usr/bin/unshare', '--mount', script] };
}
