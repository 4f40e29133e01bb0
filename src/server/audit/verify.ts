import type { KeyObject } from 'node:crypto';
import { emptyChain, type Head, type Link, linkTo } from './chain.ts';
import { isSigned, type SignedHead } from './heads.ts';

/** What is wrong with a log, and at which record. */
export interface AuditFault {
  /**
   * `edited`: a record is not the one that was hashed. `missing`: numbers are left out. `reordered`: a number comes
   * after a higher one or twice. `truncated`: a known head is further than the log. `rewritten`: all hashes fit, but
   * a known head says otherwise. `unsigned`: a head that no known key signed.
   */
  readonly kind: 'edited' | 'missing' | 'reordered' | 'truncated' | 'rewritten' | 'unsigned';
  readonly seq: number;
}

export interface AuditVerdict {
  readonly records: number;
  /** Where the log ends. */
  readonly head: Head;
  /** In the order of the log; empty is good. A log that is damaged all over gives the first 100. */
  readonly faults: readonly AuditFault[];
}

const MOST_FAULTS = 100;

/**
 * Reads a whole log.
 * @param heads that somebody has seen: the server's own, and those that machines or webhooks kept
 * @param keys public keys that may have signed them
 */
export async function verifyAudit(
  links: AsyncIterable<Link> | Iterable<Link>,
  heads: readonly SignedHead[],
  keys: readonly KeyObject[],
): Promise<AuditVerdict> {
  const faults: AuditFault[] = [];
  const report = (kind: AuditFault['kind'], seq: number) => {
    if (faults.length < MOST_FAULTS) faults.push({ kind, seq });
  };
  const known = new Map<number, SignedHead[]>();
  for (const head of heads) {
    if (isSigned(head, keys)) known.set(head.seq, [...(known.get(head.seq) ?? []), head]);
    else report('unsigned', head.seq);
  }
  let at = emptyChain;
  let records = 0;
  for await (const link of links) {
    records += 1;
    const wrong = faultOf(at, link);
    if (wrong !== null) report(wrong, link.seq);
    if (wrong === 'reordered') continue;
    for (const head of known.get(link.seq) ?? []) {
      if (!head.hash.equals(link.hash)) report('rewritten', link.seq);
    }
    // What was stored goes on, so that one edited record is one fault, not one for each record after it.
    at = { seq: link.seq, hash: link.hash };
  }
  for (const seq of known.keys()) if (seq > at.seq) report('truncated', seq);
  return { records, head: at, faults };
}

function faultOf(previous: Head, link: Link): 'reordered' | 'missing' | 'edited' | null {
  if (link.seq <= previous.seq) return 'reordered';
  if (link.seq > previous.seq + 1) return 'missing';
  return linkTo(previous, link.text).hash.equals(link.hash) ? null : 'edited';
}
