import { fromBase64url, toBase64url } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import type { Head, Link } from './chain.ts';

/**
 * A record as one line of JSON: `{"seq":…,"previous":…,"hash":…,"record":{…}}`. What is hashed is the text of
 * `record` as it stands in the line.
 */
export function exportLine(previous: Head, link: Link): string {
  const hashes = `"previous":"${toBase64url(previous.hash)}","hash":"${toBase64url(link.hash)}"`;
  return `{"seq":${link.seq},${hashes},"record":${link.text}}`;
}

/** A line of an export. @throws AppError `damaged` when it is none */
export function importLine(line: string): Link {
  const [, seq = '', hash = '', text = ''] =
    /^\{"seq":(\d{1,15}),"previous":"[\w-]*","hash":"([\w-]*)","record":(\{.*\})\}$/.exec(line) ?? [];
  const bytes = fromBase64url(hash);
  if (bytes?.length !== 32) throw new AppError('damaged', 'audit export: a line that is no record');
  return { seq: Number(seq), hash: bytes, text };
}
