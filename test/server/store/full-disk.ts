/** Run by sqlite.test.ts in a folder that is a small file system: fills it, and tells what became of the store. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { asAppError } from '../../../src/base/errors.ts';
import { verifyAudit } from '../../../src/server/audit/verify.ts';
import { MasterKey } from '../../../src/server/master/master-key.ts';
import { openStore } from '../../../src/server/store/open.ts';
import { auditOf, countUp, newMachine, optionsFor, revoke, stateOf } from './stores.ts';

const [folder = ''] = process.argv.slice(2);
const masterKey = new MasterKey(Buffer.alloc(32, 7));
const place = {
  folder,
  masterKey,
  location: join(folder, 'keys.db'),
  tombstones: join(folder, 'tombstones'),
};
const store = await openStore(optionsFor(place));
await store.transaction((tx) => tx.addMachine(newMachine('ada')));

let done = 0;
const refused = new Set<string>();
for (let n = 0; n < 50; n++) {
  if (n === 20) takeAllRoom();
  try {
    // A long line, so that it needs new pages.
    await countUp(store, 'ada', 'x'.repeat(20_000));
    done += 1;
  } catch (thrown) {
    refused.add(asAppError(thrown).code);
  }
}
const revocation = await revoke(store, 'ada').then(
  () => 'done',
  (thrown) => asAppError(thrown).code,
);
const { n: counted } = await stateOf(store, 'ada');
const links = await auditOf(store);
const { faults } = await verifyAudit(links, [], []);
rmSync(join(folder, 'filler'));
const after = await countUp(store, 'ada', 'again');
await store.close();
const found = { done, refused: [...refused], counted, records: links.length, faults, revocation, after };
process.stdout.write(JSON.stringify(found));

function takeAllRoom(): void {
  const filler = openSync(join(folder, 'filler'), 'w');
  for (const size of [65_536, 1]) {
    try {
      for (;;) writeSync(filler, Buffer.alloc(size));
    } catch {
      // ENOSPC is what was wanted.
    }
  }
  closeSync(filler);
}
