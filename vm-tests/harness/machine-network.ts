import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { selfSigned } from '../../test/support/certificates.ts';
import { startTang, type TangServer } from '../../test/support/tang.ts';
import type { GuestFile } from './guest.ts';

/** Servers on the host's loopback, and how a guest with `network` reaches them. */

interface Teardown {
  teardown(action: () => unknown): unknown;
}

/** QEMU's own network: the guest is 10.0.2.15 by DHCP, and this is the host's 127.0.0.1. */
export const HOST = '10.0.2.2';

/** A Tang server that goes and comes, and the configuration of the pin `tang` for it in the guest. */
export async function hostTang(t: Teardown): Promise<TangServer & { readonly pin: Record<string, unknown> }> {
  const tang = await startTang(t);
  const adv = (await (await fetch(`${tang.url}/adv`)).json()) as Record<string, unknown>;
  return { ...tang, pin: { url: tang.url.replace('127.0.0.1', HOST), adv } };
}

/** An HTTPS server that gives everybody the same key. @returns the settings of a volume in config.yaml */
export async function hostKeyServer(t: Teardown, body: Uint8Array): Promise<string> {
  const { certificate, key, pinSha256 } = selfSigned({ names: [HOST] });
  const server = createServer({ cert: certificate, key }, (_request, response) => response.end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return `{ url: "https://${HOST}:${port}/key", pin: sha256/${pinSha256.toString('base64url')} }`;
}

/** The unit to enable; it brings network-online.target's waiting along. */
export const NETWORKD = 'systemd-networkd.service';
export const networkdFiles: Readonly<Record<string, GuestFile>> = {
  '/etc/systemd/network/50-wired.network': { content: '[Match]\nType=ether\n[Network]\nDHCP=ipv4\n' },
};
export const ONLINE = /systemd\[1\]: Reached target network-online\.target/;
