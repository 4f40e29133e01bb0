import { chainLabel, emptyChain, type Head, type Link, linkTo } from '../audit/chain.ts';
import type { SignedHead } from '../audit/heads.ts';
import { bytesOf, numberOf, type Query, textOf } from './database.ts';

/**
 * PostgreSQL makes the link itself, as `linkTo` does, so that the head's row is locked for one statement and the
 * commit: with two more ways to the server and back, processes would get half as many records done.
 */
const LINK_IN_POSTGRES = `WITH head AS (
  UPDATE audit_head SET seq = seq + 1, hash = sha256(?1::bytea || hash || int8send(seq + 1) || sha256(convert_to(?2, 'UTF8')))
  RETURNING seq, hash)
  INSERT INTO audit (seq, hash, record) SELECT seq, hash, ?2 FROM head`;

/**
 * Adds records to the chain. The head's row stays locked until the commit, so that processes that write at the same
 * time make one chain: the last statements of a transaction, since everybody else waits from here on.
 */
export async function appendRecords(query: Query, texts: readonly string[]): Promise<void> {
  if (query.dialect === 'postgres') {
    for (const text of texts) await query.change(LINK_IN_POSTGRES, chainLabel, text);
    return;
  }
  for (const text of texts) {
    const link = linkTo(await readHead(query), text);
    await insertLink(query, link);
    await writeHead(query, link);
  }
}

export async function startChain(query: Query): Promise<void> {
  const { seq, hash } = emptyChain;
  const sql = 'INSERT INTO audit_head (one, seq, hash) VALUES (1, ?1, ?2) ON CONFLICT DO NOTHING';
  await query.change(sql, seq, hash);
}

export async function insertLink(query: Query, link: Link): Promise<void> {
  await query.change(
    'INSERT INTO audit (seq, hash, record) VALUES (?1, ?2, ?3)',
    link.seq,
    link.hash,
    link.text,
  );
}

export async function writeHead(query: Query, head: Head): Promise<void> {
  await query.change('UPDATE audit_head SET seq = ?1, hash = ?2', head.seq, head.hash);
}

export async function readHead(query: Query): Promise<Head> {
  const [row = {}] = await query.rows('SELECT seq, hash FROM audit_head');
  return { seq: numberOf(row, 'seq'), hash: bytesOf(row, 'hash') };
}

export async function linksAfter(query: Query, seq: number, count: number): Promise<Link[]> {
  const sql = 'SELECT seq, hash, record FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2';
  return (await query.rows(sql, seq, count)).map((row) => ({
    seq: numberOf(row, 'seq'),
    hash: bytesOf(row, 'hash'),
    text: textOf(row, 'record'),
  }));
}

/** One for each number: the first that was signed. */
export async function insertHead(query: Query, head: SignedHead): Promise<void> {
  await query.change(
    'INSERT INTO signed_heads (seq, hash, wall_ms, signer, signature) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING',
    head.seq,
    head.hash,
    head.wallMs,
    head.signer,
    head.signature,
  );
}

export async function headsAfter(query: Query, seq: number, count: number): Promise<SignedHead[]> {
  const sql = `SELECT seq, hash, wall_ms, signer, signature FROM signed_heads WHERE seq > ?1 ORDER BY seq LIMIT ?2`;
  return (await query.rows(sql, seq, count)).map((row) => ({
    seq: numberOf(row, 'seq'),
    hash: bytesOf(row, 'hash'),
    wallMs: numberOf(row, 'wall_ms'),
    signer: bytesOf(row, 'signer'),
    signature: bytesOf(row, 'signature'),
  }));
}
