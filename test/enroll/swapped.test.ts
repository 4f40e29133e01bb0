import { renameSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { BY_STDIN, type Machine, machineWith } from '../support/enrolled.ts';
import { clevisBind, copyImage, makeImage, opens, uuidOf } from '../support/luks.ts';
import { startTang } from '../support/tang.ts';
import { ownFolder } from '../support/tpm.ts';

t.setTimeout(300_000);

const tang = await startTang(t);

async function handled({ started, ended }: Machine): Promise<number | null> {
  await started();
  return await ended();
}

t.test('a disk with a sealed key of its own, in place of the enrolled one, gets nothing', async (t) => {
  const machine = await machineWith(t);
  const { path } = machine.image;
  const done = await machine.command('enroll', ['--tang', tang.url, '-y', ...BY_STDIN]);
  t.equal(done.status, 0, done.stderr);
  // The handler that enroll itself asked.
  t.equal(await handled(machine), 0);
  const folder = ownFolder(t);
  const stranger = makeImage(folder, 'stranger', ['--uuid', uuidOf(path)]);
  clevisBind(stranger, 'tang', { url: tang.url });
  copyImage(path, `${folder}/ours`);
  renameSync(stranger.path, path);
  await machine.shows(t, 'swapped', 'data', {
    status: 4,
    line: /^data: a key that is not the one that was enrolled \(\S+commitments\/data\) \(hint: if you did not/,
  });
  copyImage(`${folder}/ours`, path);
  clevisBind(machine.image, 'tang', { url: tang.url });
  const answer = await machine.ask('data');
  t.equal(await handled(machine), 0);
  t.equal(answer.length, 86, 'beside another sealed key ours is the one that is given out');
  t.ok(opens(path, answer));
  writeFileSync(`${machine.etc}/commitments/data`, 'x\n');
  await machine.shows(t, 'a damaged commitment', 'data', {
    status: 6,
    line: /commitments\/data:1: expected a UUID and 43 characters/,
  });
});
