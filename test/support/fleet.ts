import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { Secret } from '../../src/base/secret.ts';
import { generateExchangeKey } from '../../src/exchange/answer.ts';
import { curves } from '../../src/exchange/curve.ts';
import { thumbprint, toJwk } from '../../src/exchange/jwk.ts';
import { type Identity, makeIdentity } from '../../src/identity/identity.ts';
import { clock } from '../../src/os/clock.ts';
import { durableFiles } from '../../src/os/durable-files.ts';
import { locksIn } from '../../src/os/locks.ts';
import { random } from '../../src/os/random.ts';
import { defaultPolicy } from '../../src/server/machine/policy.ts';
import { joined } from '../../src/server/machine/state.ts';
import { MasterKey } from '../../src/server/master/master-key.ts';
import { openStore } from '../../src/server/store/open.ts';

const BATCH = 500;
/** No lease ends in the meantime. */
const LONG_MS = 7 * 24 * 60 * 60_000;

/** A machine that can ask: it has an identity, one exchange key on P-256, and an alive proof. */
export interface Asker {
  readonly name: string;
  readonly identity: Identity;
  readonly kid: string;
  readonly proof: string;
  readonly boot: string;
  /** Of 127.0.0.0/8, its own: limits are for each address. */
  readonly address: string;
}

/**
 * The state folder of a server that knows `count` machines, written by the server's own store.
 * @param given the store's place, default keys.db in `state`; the lease, which runs from now on
 * @param askers how many of them can ask; the others have an identity that nobody has, and an exchange key each
 */
export async function makeFleet(
  state: string,
  count: number,
  askers: number,
  given: { readonly location?: string; readonly leaseMs?: number } = {},
): Promise<Asker[]> {
  const { location = `${state}/keys.db`, leaseMs = LONG_MS } = given;
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const master = randomBytes(32);
  writeFileSync(`${state}/master-key`, `${master.toString('base64url')}\n`, { mode: 0o600 });
  const store = await openStore({
    location,
    tombstones: `${state}/tombstones`,
    masterKeys: [new MasterKey(master)],
    asRevoked: (before) => before,
    clock,
    wallMs: Date.now,
    random,
    files: durableFiles,
    locks: locksIn(state),
    signal: new AbortController().signal,
  });
  const made: Asker[] = [];
  // A key for each: making them costs more than keeping them, so those that nobody asks for share a few private halves.
  const shared = Array.from({ length: 16 }, () => generateExchangeKey(curves['P-256']));
  for (let first = 0; first < count; first += BATCH) {
    await store.transaction(async (transaction) => {
      for (let index = first; index < Math.min(first + BATCH, count); index++) {
        const isAsker = index < askers;
        const id = randomBytes(16).toString('hex');
        const name = `machine-${index}`;
        const identity = isAsker ? makeIdentity(name, random) : null;
        const { point, secret } = isAsker
          ? generateExchangeKey(curves['P-256'])
          : (shared[index % shared.length] as (typeof shared)[0]);
        const key = { ...toJwk(point), crv: 'P-256' };
        const kid = isAsker ? thumbprint(key, 'S256') : randomBytes(32).toString('base64url');
        const proof = randomBytes(32);
        const alive = { [kid]: createHash('sha256').update(proof).digest('base64url') };
        const policy = { ...defaultPolicy, leaseMs, bootGraceMs: leaseMs };
        const deadlineMs = store.now().leaseMs + leaseMs;
        const pin = identity?.pinSha256 ?? randomBytes(32);
        await transaction.addMachine({ id, name, pin, state: { ...joined(policy), alive, deadlineMs } });
        const row = { kid, machine: id, curve: 'P-256', public: JSON.stringify(key) };
        await transaction.addKey(row, new Secret(Buffer.from(secret.reveal())));
        if (identity === null) continue;
        const address = `127.1.${index >> 8}.${index & 255}`;
        const boot = crypto.randomUUID();
        made.push({ name, identity, kid, proof: proof.toString('base64url'), boot, address });
      }
    });
  }
  await store.close();
  return made;
}
