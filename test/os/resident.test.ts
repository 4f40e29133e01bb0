import { readFileSync } from 'node:fs';
import t from 'tap';
import { rest } from '../../src/os/resident.ts';

/** Of files, in KiB (proc_pid_status(5)). */
const residentKib = () =>
  Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

t.test('a program that rests holds little of its executable, and goes on', async (t) => {
  const before = residentKib();
  rest();
  const after = residentKib();
  t.ok(after < before / 2, `${before} KiB, then ${after} KiB`);
  for (let round = 0; round < 3; round++) rest();
  t.same([3, 1, 2].toSorted(), [1, 2, 3]);
});
