import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cached } from './cache.ts';
import type { GuestFile } from './guest.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const FREE_MB = 300;
const SOCKET = '/run/boot-test-key-server.sock';
const STATE = '/srv/key-server';

/** A luks-key-server of these sources inside a container, which has no other network than its own loopback. */
export const KEY_SERVER_UNIT = 'boot-test-key-server.service';

/** A layer with the executable, which `vm-tests/setup` has built. */
export async function keyServerLayer(): Promise<string> {
  const executable = join(ROOT, 'dist/luks-key-server');
  const hash = createHash('sha256').update(readFileSync(executable)).digest('hex');
  return await cached('key-server', hash, FREE_MB, async (folder) => {
    mkdirSync(join(folder, 'usr/bin'), { recursive: true });
    copyFileSync(executable, join(folder, 'usr/bin/luks-key-server'));
  });
}

/** It stands for one on another machine: it waits for nothing in this one's boot, and runs until the very end. */
const UNIT = `[Unit]
Description=Key server for this test
DefaultDependencies=no
[Service]
Type=notify
ExecStartPre=/bin/mkdir -p -m 0700 ${STATE}
ExecStart=/usr/bin/luks-key-server serve --listen 127.0.0.1:7443 --state ${STATE} --socket ${SOCKET}
[Install]
WantedBy=multi-user.target
`;

export const keyServerFiles: Readonly<Record<string, GuestFile>> = {
  [`/etc/systemd/system/${KEY_SERVER_UNIT}`]: { content: UNIT },
};

/** A command in the container's script. */
export const tellKeyServer = (command: string) => `luks-key-server ${command} --socket ${SOCKET}`;

/** The same, for the line that `fetch-luks-key join` reads. */
export const invites = (name: string) => tellKeyServer(`invite ${name} --url https://127.0.0.1:7443`);
