import { generateKeyPairSync } from 'node:crypto';
import { AppError } from '../../base/errors.ts';
import { signAdvertisement } from '../../exchange/advertise.ts';
import { generateExchangeKey } from '../../exchange/answer.ts';
import { curves } from '../../exchange/curve.ts';
import { type EcJwk, parseEcKey, thumbprint, toJwk } from '../../exchange/jwk.ts';
import type { OperatorResponses } from '../../wire/operator.ts';
import type { Policy } from '../machine/policy.ts';
import { joined } from '../machine/state.ts';
import type { NewExchangeKey } from '../store/store.ts';
import type { App } from './app.ts';
import { invitationHash } from './join.ts';

/** What the server keeps in clear of a Tang client's exchange key. */
export interface TangAdvertisement {
  readonly signer: EcJwk;
  readonly exchange: EcJwk;
  /** Signed once and for all: the signing key's private half is gone by now. */
  readonly jws: ReturnType<typeof signAdvertisement>;
}

/** It is part of a row that the master key authenticates, so it is what `inviteTang` wrote. */
export function tangAdvertisement(key: NewExchangeKey): TangAdvertisement {
  return JSON.parse(key.public);
}

/**
 * Makes a machine for a stock Clevis, which joins nothing: its exchange key, its address and its second secret come
 * into being here. On P-521, as Clevis and Tang have it.
 * @throws AppError `usage`: the name is taken, or no address is allowed
 */
export async function inviteTang(
  app: App,
  name: string,
  given: Policy,
): Promise<OperatorResponses['invite-tang']> {
  if (given.allowedFrom.length === 0) {
    throw new AppError('usage', 'a Tang client has no key of its own, so it needs --from', {
      hint: 'the addresses that it asks from; everywhere is --from 0.0.0.0/0 --from ::/0',
    });
  }
  // It tells no boot: there is none to count, to be gracious to, or to announce.
  const policy: Policy = { ...given, bootGraceMs: 0, selfExpect: 'never' };
  const { point, secret } = generateExchangeKey(curves['P-521']);
  using own = secret;
  const { signer, sign } = signingKey();
  const advertisement: TangAdvertisement = {
    signer: toJwk(signer),
    exchange: toJwk(point),
    jws: sign(point),
  };
  const kid = thumbprint(advertisement.exchange, 'S256');
  const [id, tang] = [app.random.bytes(16).toString('hex'), app.random.bytes(16).toString('base64url')];
  const alive = app.random.bytes(32);
  const state = { ...joined(policy), alive: { [kid]: invitationHash(alive).toString('base64url') } };
  await app.store.transaction(async (transaction) => {
    if (!(await transaction.addMachine({ id, name, tang, state }))) {
      throw new AppError('usage', `there is a machine ${JSON.stringify(name)} already`, {
        hint: 'choose another name',
      });
    }
    const row = { kid, machine: id, curve: 'P-521', public: JSON.stringify(advertisement) };
    if (!(await transaction.addKey(row, own))) throw new Error('two exchange keys with one thumbprint');
    transaction.record({ who: 'operator', what: 'invite-tang', machine: name, key: kid, outcome: 'done' });
  });
  return {
    name,
    path: `/t/${tang}`,
    thp: thumbprint(advertisement.signer, 'S256'),
    alive: alive.toString('base64url'),
  };
}

/** A key that signs one advertisement and is forgotten: nobody who has the database can sign another. */
function signingKey() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-521' });
  const signer = parseEcKey(publicKey.export({ format: 'jwk' }), (reason) => {
    throw new Error(`OpenSSL made a key that is none: ${reason}`);
  });
  return { signer, sign: (point: typeof signer) => signAdvertisement(privateKey, signer, point) };
}
