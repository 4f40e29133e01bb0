import { type Head, headAfter } from './chain.ts';

/** Digests of the records after number `after`, as many as fit one answer; empty = there is none. */
export type DigestsAfter = (after: number) => Promise<readonly Buffer[]>;

/** Whether the log that ends with `later` is the one that ended with `earlier`, and more. @throws what `digests` throws */
export async function isExtension(later: Head, earlier: Head, digests: DigestsAfter): Promise<boolean> {
  let at = earlier;
  while (at.seq < later.seq) {
    const page = await digests(at.seq);
    if (page.length === 0) return false;
    at = page.slice(0, later.seq - at.seq).reduce(headAfter, at);
  }
  return at.seq === later.seq && at.hash.equals(later.hash);
}
