import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import t from 'tap';
import { emptyChain, type Head, type Link, linkTo } from '../../../src/server/audit/chain.ts';
import { exportLine, importLine } from '../../../src/server/audit/export.ts';
import { headFromJson, headSigner, headToJson, type SignedHead } from '../../../src/server/audit/heads.ts';
import { recordText } from '../../../src/server/audit/record.ts';
import { type AuditFault, verifyAudit } from '../../../src/server/audit/verify.ts';

const now = { leaseMs: 5, wallMs: Date.UTC(2026, 0, 2) };
const text = (n: number) =>
  recordText(
    { who: 'machine', what: 'recover', outcome: 'released', machine: `m${n}`, requestId: `${n}` },
    now,
  );

function linksOf(head: Head, texts: readonly string[]): Link[] {
  const links: Link[] = [];
  for (const text of texts) links.push(linkTo(links.at(-1) ?? head, text));
  return links;
}

const texts = [1, 2, 3, 4, 5, 6].map(text);
const log = linksOf(emptyChain, texts);
const pairs = {
  ed25519: generateKeyPairSync('ed25519'),
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};
const keys = [pairs.ed25519.publicKey, pairs.p256.publicKey];

function headAt(seq: number, key: KeyObject = pairs.ed25519.privateKey): SignedHead {
  const link = log[seq - 1];
  if (link === undefined) throw new Error(`no record ${seq}`);
  return headSigner(key)(link, now.wallMs);
}

const faultsOf = async (links: Iterable<Link>, heads: SignedHead[] = []) =>
  (await verifyAudit(links, heads, keys)).faults;

t.test('a whole log verifies, with the heads of either kind of key', async (t) => {
  const verdict = await verifyAudit(log, [headAt(2), headAt(6, pairs.p256.privateKey)], keys);
  t.same(verdict.faults, []);
  t.equal(verdict.records, 6);
  t.same(verdict.head, { seq: 6, hash: log[5]?.hash });
  t.same(await verifyAudit([], [], keys), { records: 0, head: emptyChain, faults: [] });
});

const without = (...numbers: number[]) => log.filter((link) => !numbers.includes(link.seq));
const edited = (seq: number) =>
  log.map((link) => (link.seq === seq ? { ...link, text: link.text.replace('released', 'refused!') } : link));
const swapped = [...log.slice(0, 2), ...log.slice(3, 4), ...log.slice(2, 3), ...log.slice(4)];
const renumbered = without(3).map((link, index) => ({ ...link, seq: index + 1 }));
const rehashed = linksOf(emptyChain, [...texts.slice(0, 2), text(9), ...texts.slice(3)]);

const tampered: [title: string, links: Link[], heads: number[], faults: AuditFault[]][] = [
  ['an edited record', edited(3), [], [{ kind: 'edited', seq: 3 }]],
  ['an edited last record', edited(6), [], [{ kind: 'edited', seq: 6 }]],
  ['a record left out', without(3), [], [{ kind: 'missing', seq: 4 }]],
  [
    'a record left out, the rest renumbered',
    renumbered,
    [],
    [3, 4, 5].map((seq) => ({ kind: 'edited', seq })),
  ],
  ['the first record left out', without(1), [], [{ kind: 'missing', seq: 2 }]],
  [
    'two records swapped',
    swapped,
    [],
    [
      { kind: 'missing', seq: 4 },
      { kind: 'reordered', seq: 3 },
    ],
  ],
  ['a record twice', [...log.slice(0, 3), ...log.slice(2)], [], [{ kind: 'reordered', seq: 3 }]],
  ['cut off behind a known head', log.slice(0, 4), [2, 5], [{ kind: 'truncated', seq: 5 }]],
  ['emptied', [], [1], [{ kind: 'truncated', seq: 1 }]],
  ['all hashes made again', rehashed, [2, 4], [{ kind: 'rewritten', seq: 4 }]],
];

for (const [title, links, heads, faults] of tampered) {
  t.test(title, async (t) => {
    const seen = heads.map((seq) => headAt(seq));
    t.same(await faultsOf(links, seen), faults);
  });
}

t.test('without a head, what was cut off or rehashed looks whole', async (t) => {
  t.same(await faultsOf(log.slice(0, 4)), []);
  t.same(await faultsOf(rehashed), []);
});

t.test('a head that no known key signed says nothing but that', async (t) => {
  const other = generateKeyPairSync('ed25519').privateKey;
  t.same(await faultsOf(log, [headAt(3, other)]), [{ kind: 'unsigned', seq: 3 }]);
  for (const change of [
    { seq: 4 },
    { wallMs: 1 },
    { hash: Buffer.alloc(32) },
    { signature: Buffer.alloc(64) },
  ]) {
    const forged = { ...headAt(3), ...change };
    t.same(await faultsOf(log, [forged]), [{ kind: 'unsigned', seq: forged.seq }], `${Object.keys(change)}`);
  }
});

t.test('a head survives its way as JSON', async (t) => {
  const head = headAt(4, pairs.p256.privateKey);
  t.same(headFromJson(JSON.parse(JSON.stringify(headToJson(head)))), head);
  for (const wrong of [
    null,
    1,
    {},
    [],
    { ...headToJson(head), seq: '4' },
    { ...headToJson(head), hash: 'AA' },
  ]) {
    t.equal(headFromJson(wrong), null, JSON.stringify(wrong));
  }
});

t.test('an export verifies as the log does, and is JSON line by line', async (t) => {
  const lines = log.map((link, index) => exportLine(log[index - 1] ?? emptyChain, link));
  t.same(lines.map(importLine), log);
  t.match(JSON.parse(lines[2] ?? ''), {
    seq: 3,
    record: { who: 'machine', machine: 'm3', 'request-id': '3' },
  });
  const changed = lines.map((line) => line.replace('"m3"', '"m4"'));
  t.same(await faultsOf(changed.map(importLine)), [{ kind: 'edited', seq: 3 }]);
  for (const line of ['', '{}', lines[0]?.slice(0, -1) ?? '', 'x']) {
    t.throws(() => importLine(line), { code: 'damaged' }, JSON.stringify(line));
  }
});
