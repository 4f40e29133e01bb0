import type { GuestFile } from './guest.ts';

/**
 * A luks-key-server inside a container, which has no other network than its own loopback: the package's own unit, with
 * `keyServerLayer` of product.ts among the guest's layers.
 */
export const KEY_SERVER_UNIT = 'luks-key-server.service';
export const KEY_SERVER_SOCKET = 'luks-key-server.socket';

/** For one that stands for a server on another machine: it runs until the very end of this one. */
export const OUTLIVES: Readonly<Record<string, GuestFile>> = {
  [`/etc/systemd/system/${KEY_SERVER_UNIT}.d/boot-test.conf`]: {
    content: '[Unit]\nDefaultDependencies=no\n',
  },
};

/** A command in the container's script. */
export const tellKeyServer = (command: string) => `luks-key-server ${command}`;

/** The same, for the line that `fetch-luks-key join` reads. */
export const invites = (name: string) => tellKeyServer(`invite ${name} --url https://127.0.0.1:7443`);
