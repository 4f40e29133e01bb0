import { credentialAddress } from '../credentials/address.ts';
import { dropInFor, ownProcessSocket, sharedSocket } from '../credentials/drop-in.ts';
import { credentialPath, type Form } from '../credentials/place.ts';
import { nameOf } from './stored-secret.ts';
import type { World } from './world.ts';

export interface Installing {
  readonly etc: string;
  /** null: as it was sealed. */
  readonly form: Form | null;
  /** One process for all. */
  readonly shared: boolean;
}

/** Makes a unit ask for its secret. @param name UNIT/ID */
export async function install(
  name: string,
  { etc, form, shared }: Installing,
  world: World,
): Promise<number> {
  const address = credentialAddress(name);
  const isSealed = async (one: Form) => (await world.files.mode(credentialPath(etc, address, one))) !== null;
  const asSealed = !(await isSealed('plain')) && (await isSealed('encrypted')) ? 'encrypted' : 'plain';
  const asked = form ?? (shared ? 'encrypted' : asSealed);
  const { folder, path, text } = dropInFor(address, asked, shared ? sharedSocket : ownProcessSocket);
  world.durable.makeFolder(folder);
  world.durable.replace(path, Buffer.from(text));
  world.say(`wrote ${path}`);
  if (!(await isSealed(asked))) {
    const encrypted = asked === 'encrypted' ? ' --encrypted' : '';
    world.say(`next: fetch-luks-key seal --credential ${nameOf(address)}${encrypted} PIN CONFIG < SECRET`);
  }
  world.say(`next: systemctl daemon-reload && systemctl restart ${address.unit}`);
  return 0;
}
