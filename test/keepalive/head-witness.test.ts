import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { limits } from '../../src/base/limits.ts';
import { HeadWitness } from '../../src/keepalive/head-witness.ts';
import { durableFiles } from '../../src/os/durable-files.ts';
import { files } from '../../src/os/files.ts';
import { digestOf, emptyChain, type Link, linkTo } from '../../src/server/audit/chain.ts';
import type { DigestsAfter } from '../../src/server/audit/extension.ts';
import {
  type HeadJson,
  headFromJson,
  headSigner,
  headToJson,
  isSigned,
} from '../../src/server/audit/heads.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const stranger = generateKeyPairSync('ed25519').privateKey;

const log: Link[] = [];
for (let seq = 1; seq <= 100; seq++) log.push(linkTo(log.at(-1) ?? emptyChain, `record ${seq}`));
const hashAt = (seq: number): Buffer => log[seq - 1]?.hash ?? emptyChain.hash;
/** What the server shows when asked. */
const digests: DigestsAfter = async (after) => log.slice(after, after + 5).map(({ text }) => digestOf(text));

const head = (seq: number, hash = hashAt(seq), key: KeyObject = privateKey): HeadJson =>
  headToJson(headSigner(key)({ seq, hash }, 1000 * seq));
const otherHash = Buffer.alloc(32, 99);

function stage(t: Test) {
  const folder = `${t.testdir({})}/audit-heads`;
  const told: string[] = [];
  const now = { ms: 0, wallMs: Date.parse('2026-11-24T12:00:00Z') };
  const note = (line: string) => told.push(line);
  const world = {
    clock: { nowMs: () => now.ms, sleep: async () => {} },
    files,
    durable: durableFiles,
    journal: { info: note, warning: note, error: note },
    wallMs: () => now.wallMs,
  };
  const path = `${folder}/home`;
  return {
    folder,
    path,
    told,
    now,
    witness: () => new HeadWitness('home', folder, world),
    kept: (file = path) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .flatMap((line) => (line === '' ? [] : [headFromJson(JSON.parse(line))])),
  };
}

t.test('a log that grows is nothing to tell; the last head survives the process', async (t) => {
  const { witness, path, told, kept } = stage(t);
  const first = witness();
  for (const one of [null, head(3), head(3), head(7)])
    t.equal(await first.see(one, publicKey, digests), null);
  t.equal(await witness().see(head(9), publicKey, digests), null);
  t.same(told, []);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(kept().length, 1);
  const [last] = kept();
  t.ok(last?.seq === 9 && isSigned(last, [publicKey]), 'as it was signed, to be shown to others');
});

t.test('the last record has another hash', async (t) => {
  const { witness, path, told, kept } = stage(t);
  await witness().see(head(5), publicKey, digests);
  const later = witness();
  t.equal(await later.see(head(5, otherHash), publicKey, digests), 'record 5 of its audit log has changed');
  t.equal(await later.see(head(5, otherHash), publicKey, digests), null);
  t.equal(
    await witness().see(head(5, otherHash), publicKey, digests),
    null,
    'once, also after the next start',
  );
  t.match(told, [/^home: major alert: record 5 of its audit log has changed \(hint: was it restored/]);
  t.same(
    kept(`${path}~`).map((one) => one?.hash),
    [hashAt(5)],
    'what had been seen before is kept',
  );
});

t.test('a log that ends earlier: heads of two processes may cross, but not for long', async (t) => {
  const { witness, told, now } = stage(t);
  const one = witness();
  await one.see(head(8), publicKey, digests);
  t.equal(await one.see(head(7), publicKey, digests), null);
  now.ms += limits.auditHeadLagMs - 1;
  t.equal(await one.see(head(7), publicKey, digests), null);
  t.equal(await one.see(head(8), publicKey, digests), null, 'it has caught up');
  now.ms += 1;
  t.equal(await one.see(head(7), publicKey, digests), null, 'and may cross again');
  now.ms += limits.auditHeadLagMs;
  t.equal(
    await one.see(head(7), publicKey, digests),
    'its audit log ended with record 8, and now with record 7',
  );
  t.equal(await one.see(head(7), publicKey, digests), null);
  t.equal(await one.see(null, publicKey, digests), null);
  now.ms += limits.auditHeadLagMs;
  t.match(await one.see(null, publicKey, digests), /ended with record 7, and now with record 0/);
  t.equal(told.length, 2);
});

t.test('a head that another key has signed, or none', async (t) => {
  const { witness, told, kept } = stage(t);
  const one = witness();
  await one.see(head(4), publicKey, digests);
  const forged = /^a head of its audit log, record 9, that its key has not signed$/;
  t.match(await one.see(head(9, hashAt(9), stranger), publicKey, digests), forged);
  t.equal(await one.see(head(9, hashAt(9), stranger), publicKey, digests), null, 'once');
  t.equal(await one.see(head(5), publicKey, digests), null);
  t.match(await one.see({ ...head(8), seq: 9 }, publicKey, digests), forged);
  t.equal(told.length, 2);
  t.same(
    kept().map((one) => one?.seq),
    [5],
    'none of them is kept',
  );
});

t.test('a log that was rewritten, and has grown on since', async (t) => {
  const { witness, path, told, kept } = stage(t);
  await witness().see(head(5), publicKey, digests);
  const fault = 'record 9 of its audit log does not extend record 5';
  t.equal(await witness().see(head(9, otherHash), publicKey, digests), fault);
  t.equal(await witness().see(head(9, otherHash), publicKey, digests), null, 'once');
  t.match(told, [/^home: major alert: record 9 .*hint: was it restored/]);
  t.same(
    kept(`${path}~`).map((one) => one?.seq),
    [5],
  );
});

t.test('a server that does not show what it recorded', async (t) => {
  const { witness, told, kept } = stage(t);
  const one = witness();
  await one.see(head(5), publicKey, digests);
  const down = new AppError('unavailable', 'down');
  await t.rejects(
    one.see(head(9), publicKey, () => Promise.reject(down)),
    down,
  );
  t.same([told, kept().at(-1)?.seq], [[], 5], 'an outage is no fault');
  t.equal(await one.see(head(9), publicKey, digests), null, 'and it is asked again');
  const fault = 'record 12 of its audit log does not extend record 9';
  t.equal(await one.see(head(12), publicKey, async () => []), fault);
});

t.test('a server that lives, and never shows what it recorded', async (t) => {
  const { witness, told, now, kept } = stage(t);
  const one = witness();
  await one.see(head(5), publicKey, digests);
  for (const code of ['unavailable', 'refused'] as const) {
    const answer = new AppError(code, 'the server has too many requests');
    const busy = () => Promise.reject(answer);
    const [last = 0, next = 0] = code === 'unavailable' ? [5, 9] : [9, 12];
    await t.rejects(one.see(head(next), publicKey, busy), answer);
    now.ms += 10 * limits.auditHeadLagMs;
    for (let tries = 2; tries < limits.auditHeadTries; tries++) {
      await t.rejects(one.see(head(next), publicKey, busy), answer, 'it was away in between');
    }
    const fault = `record ${next} of its audit log is not shown to extend record ${last}`;
    t.equal(await one.see(head(next), publicKey, busy), fault);
    t.equal(await one.see(head(next), publicKey, busy), null, 'once');
    t.equal(told.at(-1)?.startsWith(`home: major alert: ${fault} (hint: `), true);
    t.equal(kept().at(-1)?.seq, next, 'it begins anew with the head that it was given');
  }
  const answer = new AppError('unavailable', 'down');
  for (let tries = 0; tries < 3 * limits.auditHeadTries; tries++) {
    const down = () => Promise.reject(answer);
    await t.rejects(one.see(head(20), publicKey, down), answer, 'many times, but not for long');
  }
  t.equal(await one.see(head(20), publicKey, digests), null, 'shown at last');
  now.ms += limits.auditHeadLagMs;
  await t.rejects(
    one.see(head(30), publicKey, () => Promise.reject(answer)),
    answer,
    'all is forgotten',
  );
});

t.test('two answers at a time', async (t) => {
  const { witness, kept } = stage(t);
  const one = witness();
  await one.see(head(5), publicKey, digests);
  const both = [head(30), head(31)].map((later) => one.see(later, publicKey, digests));
  t.same(await Promise.all(both), [null, null]);
  t.same(
    kept().map((last) => [30, 31].includes(last?.seq ?? 0)),
    [true],
  );
});

t.test('one for each day is kept, so that rewriting what came before is found by all of them', async (t) => {
  const { witness, now, kept } = stage(t);
  const one = witness();
  for (let seq = 1; seq <= 80; seq++) {
    await one.see(head(seq), publicKey, digests);
    now.wallMs += 12 * 3_600_000;
  }
  t.equal(kept().length, limits.auditHeadsKept);
  t.equal(kept().at(-1)?.seq, 80);
});

t.test('a file that is damaged, a folder that cannot be written: told, and gone on', async (t) => {
  const { witness, path, told } = stage(t);
  await witness().see(head(4), publicKey, digests);
  writeFileSync(path, '{"seq":');
  t.equal(await witness().see(head(5), publicKey, digests), null);
  t.match(told, [/^home: heads of its audit log: expected a signed head in each line; begun anew$/]);
  t.ok(existsSync(path));

  const other = stage(t);
  writeFileSync(other.folder, 'a file where the folder should be');
  const one = other.witness();
  await one.see(head(4), publicKey, digests);
  t.match(await one.see(head(4, otherHash), publicKey, digests), /has changed/, 'what is in memory counts');
  t.equal(other.told.length, 2, 'that it cannot be written is told once');
});
