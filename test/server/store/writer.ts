/**
 * A server's process, of which a test wants no more than that it writes: counts up in the machines that it is told,
 * each as fast as it can, and names every request on a line of its own once it is confirmed, and not before.
 */
import { writeSync } from 'node:fs';
import { AppError } from '../../../src/base/errors.ts';
import { MasterKey } from '../../../src/server/master/master-key.ts';
import { openStore } from '../../../src/server/store/open.ts';
import { countUp, optionsFor } from './stores.ts';

const [folder = '', location = '', tombstones = '', masterKey = '', prefix = '', ...machines] =
  process.argv.slice(2);
const key = new MasterKey(Buffer.from(masterKey, 'hex'));
const store = await openStore(optionsFor({ folder, location, tombstones, masterKey: key }));
writeSync(1, 'ready\n');
let n = 0;
await Promise.all(
  machines.map(async (machine) => {
    for (;;) {
      const requestId = `${prefix}-${n++}`;
      try {
        await countUp(store, machine, requestId);
        writeSync(1, `${requestId}\n`);
      } catch (thrown) {
        // The database may be away: nothing was confirmed, and the next try is another request.
        if (!(thrown instanceof AppError) || thrown.code !== 'unavailable') throw thrown;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }),
);
