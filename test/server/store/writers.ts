import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { verifyAudit } from '../../../src/server/audit/verify.ts';
import { MasterKey } from '../../../src/server/master/master-key.ts';
import type { Store } from '../../../src/server/store/store.ts';
import { auditOf, type Place, stateOf } from './stores.ts';

/** A process that writes, until it is killed. */
export interface Writer {
  /** Requests that it said were confirmed. */
  readonly confirmed: string[];
  /** Resolves once so many more have been. @throws when the process ends before */
  more(count: number): Promise<void>;
  kill(): Promise<void>;
}

const bytes = randomBytes(32);
export const writersKey = new MasterKey(bytes);

/** @param prefix of its requests' ids */
export async function startWriter(
  t: Test,
  place: Place,
  prefix: string,
  machines: readonly string[],
): Promise<Writer> {
  const script = join(import.meta.dirname, 'writer.ts');
  const { folder, location, tombstones } = place;
  const key = bytes.toString('hex');
  const args = [
    '--no-warnings',
    script,
    folder,
    location,
    `${tombstones}-${prefix}`,
    key,
    prefix,
    ...machines,
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const kill = async () => {
    child.kill('SIGKILL');
    await gone;
  };
  t.teardown(kill);
  const lines = linesOf(child);
  await lines.more(1);
  lines.seen.shift();
  return { confirmed: lines.seen, more: lines.more, kill };
}

function linesOf(child: ChildProcess) {
  const seen: string[] = [];
  let wake = () => {};
  let ended = false;
  if (child.stdout === null) throw new Error('no stdout');
  const reader = createInterface(child.stdout);
  reader.on('line', (line) => {
    seen.push(line);
    wake();
  });
  reader.on('close', () => {
    ended = true;
    wake();
  });
  const more = async (count: number) => {
    for (const wanted = seen.length + count; seen.length < wanted; ) {
      if (ended) throw new Error('the writer ended');
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { seen, more };
}

/** The chain is whole, each confirmed request is in it, and each machine's count is its records'. */
export async function expectNothingLost(
  t: Test,
  store: Store,
  confirmed: readonly string[],
  machines: readonly string[],
): Promise<void> {
  const links = await auditOf(store);
  t.same((await verifyAudit(links, [], [])).faults, [], 'the chain verifies');
  const records = links.map((link) => JSON.parse(link.text) as { 'request-id': string; machine: string });
  const recorded = new Set(records.map((record) => record['request-id']));
  t.same(
    confirmed.filter((id) => !recorded.has(id)),
    [],
    `none of ${confirmed.length} confirmed requests is lost`,
  );
  for (const machine of machines) {
    const { n } = await stateOf(store, machine);
    t.equal(
      n,
      records.filter((record) => record.machine === machine).length,
      `${machine}: each count has its record`,
    );
  }
}
