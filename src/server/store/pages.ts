import { serverLimits } from '../../base/server-limits.ts';
import { afterThisTurn } from '../../base/turn.ts';
import type { Link } from '../audit/chain.ts';
import type { SignedHead } from '../audit/heads.ts';
import type { Machine, Reader } from './store.ts';

/** All machines, by name. */
export function allMachines(reader: Reader): AsyncGenerator<Machine> {
  return pages(
    '',
    (after) => reader.machinesAfter(after, serverLimits.pageRows),
    ({ name }) => name,
  );
}

/** The whole audit log. */
export function allLinks(reader: Reader): AsyncGenerator<Link> {
  return pages(
    0,
    (after) => reader.linksAfter(after, serverLimits.pageRows),
    ({ seq }) => seq,
  );
}

/** All heads that the server has signed and kept. */
export function allHeads(reader: Reader): AsyncGenerator<SignedHead> {
  return pages(
    0,
    (after) => reader.headsAfter(after, serverLimits.pageRows),
    ({ seq }) => seq,
  );
}

async function* pages<T, Place>(
  start: Place,
  read: (after: Place) => Promise<T[]>,
  placeOf: (row: T) => Place,
): AsyncGenerator<T> {
  for (let after = start; ; ) {
    const rows = await read(after);
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined) return;
    after = placeOf(last);
    // Between two pages others have their turn.
    await afterThisTurn();
  }
}
