import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { limits } from '../../src/base/limits.ts';
import { HeadWitness } from '../../src/keepalive/head-witness.ts';
import { durableFiles } from '../../src/os/durable-files.ts';
import { files } from '../../src/os/files.ts';
import {
  type HeadJson,
  headFromJson,
  headSigner,
  headToJson,
  isSigned,
} from '../../src/server/audit/heads.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const stranger = generateKeyPairSync('ed25519').privateKey;

const head = (seq: number, digest = seq, key: KeyObject = privateKey): HeadJson =>
  headToJson(headSigner(key)({ seq, hash: Buffer.alloc(32, digest) }, 1000 * seq));

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
  for (const one of [null, head(3), head(3), head(7)]) t.equal(await first.see(one, publicKey), null);
  t.equal(await witness().see(head(9), publicKey), null);
  t.same(told, []);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(kept().length, 1);
  const [last] = kept();
  t.ok(last?.seq === 9 && isSigned(last, [publicKey]), 'as it was signed, to be shown to others');
});

t.test('the last record has another hash', async (t) => {
  const { witness, path, told, kept } = stage(t);
  await witness().see(head(5), publicKey);
  const later = witness();
  t.equal(await later.see(head(5, 99), publicKey), 'record 5 of its audit log has changed');
  t.equal(await later.see(head(5, 99), publicKey), null);
  t.equal(await witness().see(head(6), publicKey), null, 'once, also after the next start');
  t.match(told, [/^home: major alert: record 5 of its audit log has changed \(hint: was it restored/]);
  t.same(
    kept(`${path}~`).map((one) => one?.hash),
    [Buffer.alloc(32, 5)],
    'what had been seen before is kept',
  );
});

t.test('a log that ends earlier: heads of two processes may cross, but not for long', async (t) => {
  const { witness, told, now } = stage(t);
  const one = witness();
  await one.see(head(8), publicKey);
  t.equal(await one.see(head(7), publicKey), null);
  now.ms += limits.auditHeadLagMs - 1;
  t.equal(await one.see(head(7), publicKey), null);
  t.equal(await one.see(head(8), publicKey), null, 'it has caught up');
  now.ms += 1;
  t.equal(await one.see(head(7), publicKey), null, 'and may cross again');
  now.ms += limits.auditHeadLagMs;
  t.equal(await one.see(head(7), publicKey), 'its audit log ended with record 8, and now with record 7');
  t.equal(await one.see(head(7), publicKey), null);
  t.equal(await one.see(null, publicKey), null);
  now.ms += limits.auditHeadLagMs;
  t.match(await one.see(null, publicKey), /ended with record 7, and now with record 0/);
  t.equal(told.length, 2);
});

t.test('a head that another key has signed, or none', async (t) => {
  const { witness, told, kept } = stage(t);
  const one = witness();
  await one.see(head(4), publicKey);
  const forged = /^a head of its audit log, record 9, that its key has not signed$/;
  t.match(await one.see(head(9, 9, stranger), publicKey), forged);
  t.equal(await one.see(head(9, 9, stranger), publicKey), null, 'once');
  t.equal(await one.see(head(5), publicKey), null);
  t.match(await one.see({ ...head(8), seq: 9 }, publicKey), forged);
  t.equal(told.length, 2);
  t.same(
    kept().map((one) => one?.seq),
    [5],
    'none of them is kept',
  );
});

t.test('one for each day is kept, so that rewriting what came before is found by all of them', async (t) => {
  const { witness, now, kept } = stage(t);
  const one = witness();
  for (let seq = 1; seq <= 80; seq++) {
    await one.see(head(seq), publicKey);
    now.wallMs += 12 * 3_600_000;
  }
  t.equal(kept().length, limits.auditHeadsKept);
  t.equal(kept().at(-1)?.seq, 80);
});

t.test('a file that is damaged, a folder that cannot be written: told, and gone on', async (t) => {
  const { witness, path, told } = stage(t);
  await witness().see(head(4), publicKey);
  writeFileSync(path, '{"seq":');
  t.equal(await witness().see(head(5), publicKey), null);
  t.match(told, [/^home: heads of its audit log: expected a signed head in each line; begun anew$/]);
  t.ok(existsSync(path));

  const other = stage(t);
  writeFileSync(other.folder, 'a file where the folder should be');
  const one = other.witness();
  await one.see(head(4), publicKey);
  t.match(await one.see(head(4, 99), publicKey), /has changed/, 'what is in memory counts');
  t.equal(other.told.length, 2, 'that it cannot be written is told once');
});
