import { serverLimits } from '../../base/server-limits.ts';
import type { OperatorResponses } from '../../wire/operator.ts';
import { emptyChain, type Head } from '../audit/chain.ts';
import { exportLine } from '../audit/export.ts';
import { headToJson } from '../audit/heads.ts';
import type { App } from './app.ts';

/** A page of the log, after record `after`. */
export async function audit(app: App, { after }: { after: number }): Promise<OperatorResponses['audit']> {
  // With the record before, which the first one follows.
  const links = await app.store.snapshot((tx) =>
    tx.linksAfter(Math.max(0, after - 1), serverLimits.pageRows + 1),
  );
  let previous: Head = (after > 0 ? links.shift() : undefined) ?? emptyChain;
  const lines: string[] = [];
  for (const link of links) {
    lines.push(exportLine(previous, link));
    previous = link;
  }
  return { lines, last: Math.max(after, previous.seq) };
}

/** A page of the signed heads, after number `after`, and the keys that signed them. */
export async function heads(app: App, { after }: { after: number }): Promise<OperatorResponses['heads']> {
  const keys = app.keys.publicKeys.map((key) =>
    key.export({ format: 'der', type: 'spki' }).toString('base64url'),
  );
  return app.store.snapshot(async (reader) => {
    const page = await reader.headsAfter(after, serverLimits.pageRows);
    return { heads: page.map(headToJson), keys, last: (await reader.auditHead()).seq };
  });
}
