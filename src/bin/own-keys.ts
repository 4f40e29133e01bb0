import { createPrivateKey, createPublicKey } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { keyPinText, publicKeyFrom } from '../base/key-pin.ts';
import { limits } from '../base/limits.ts';
import type { ServeOptions } from '../cli/server/world.ts';
import { type Identity, identityFromPem, identityToPem, makeIdentity } from '../identity/identity.ts';
import { lineOf, type Succession, succession } from '../identity/succession.ts';
import { durableFiles } from '../os/durable-files.ts';
import { files } from '../os/files.ts';
import { random } from '../os/random.ts';
import type { OwnKeys } from '../server/api/own-keys.ts';
import { ownIdentity } from '../server/front/own-identity.ts';
import { givenSecret } from './given-files.ts';

const NAME = 'luks-key-server';
/** Beside the key that it is to follow. */
const NEXT = '.next';

/** In the state folder: a JSON line for each key's word for the next one, oldest first. */
export const CHAIN = 'identity.chain';

export interface KeysOfServer extends OwnKeys {
  readonly current: Identity;
  /** Who listens with the key, told before `succeed` is done. */
  onSuccession(take: (current: Identity) => Promise<void>): void;
}

/** @throws AppError `bad-config`, `unavailable` */
export async function keysOfServer({ identity: given, state }: ServeOptions): Promise<KeysOfServer> {
  const path = given ?? `${state}/identity.pem`;
  const chainPath = `${state}/${CHAIN}`;
  const made = { files, durable: durableFiles, random };
  let current =
    given === null
      ? await ownIdentity(path, NAME, made)
      : identityFromPem(await givenSecret(path, limits.identityBytes), path);
  let next = await nextOf(path);
  let chain = leadingTo(current, chainIn(chainPath));
  let listening = async (_: Identity) => {};

  /** Once it is on the disk, it may be told. */
  const extend = () => {
    if (next === null) return;
    const follows = keyPinText(next.pinSha256);
    const known = chainIn(chainPath);
    const kept = known[chain.length];
    const isKept =
      kept !== undefined && kept.next === follows && lineOf([...chain, kept]).length === chain.length + 2;
    chain = [...chain, isKept ? kept : succession(createPrivateKey(current.key), next.pinSha256)];
    durableFiles.replace(chainPath, Buffer.from(chain.map((step) => `${JSON.stringify(step)}\n`).join('')));
  };
  extend();

  return {
    get current() {
      return current;
    },
    get pin() {
      return keyPinText(current.pinSha256);
    },
    get next() {
      return next === null ? null : keyPinText(next.pinSha256);
    },
    get chain() {
      return chain;
    },
    get publicKeys() {
      return [createPublicKey(current.privateKey), ...chain.map(({ key }) => publicKeyFrom(key))];
    },
    onSuccession(take) {
      listening = take;
    },

    async announce() {
      if (next !== null) return;
      if (given !== null) {
        throw new AppError('refused', `the server's key is given, and there is no ${path}${NEXT}`, {
          hint: 'put the next key and its certificate there on every server, and restart them',
        });
      }
      next = makeIdentity(NAME, random);
      durableFiles.replace(`${path}${NEXT}`, identityToPem(next));
      extend();
    },

    async succeed() {
      if (next === null) return;
      if (given !== null) {
        throw new AppError('refused', `${path} is given: this server does not replace it`, {
          hint: `put ${path}${NEXT} in its place on every server, and restart them together`,
        });
      }
      durableFiles.rename(`${path}${NEXT}`, path);
      [current, next] = [next, null];
      await listening(current);
    },
  };
}

async function nextOf(path: string): Promise<Identity | null> {
  const name = `${path}${NEXT}`;
  if (durableFiles.size(name) === null) return null;
  return identityFromPem(await givenSecret(name, limits.identityBytes), name);
}

function chainIn(path: string): Succession[] {
  try {
    return durableFiles.lines(path).map((line) => JSON.parse(line) as Succession);
  } catch (cause) {
    throw new AppError('bad-config', `${path}: expected a JSON object in each line`, { cause });
  }
}

/** Without what was announced and is lost, and without that of another key, which somebody has put here. */
function leadingTo({ pinSha256 }: Identity, chain: readonly Succession[]): Succession[] {
  const at = lineOf(chain).findIndex((pin) => pin.equals(pinSha256));
  return at < 0 ? [] : chain.slice(0, at);
}
