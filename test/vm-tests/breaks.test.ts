import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { breaks, onVolumes } from '../../vm-tests/harness/breaks.ts';

const FOLDER = join(import.meta.dirname, '../../vm-tests');
const scenarios = globSync('*.test.ts', { cwd: FOLDER, exclude: ['doctor.test.ts'] });
const text = (file: string) => readFileSync(join(FOLDER, file), 'utf8');

t.test('the doctor is asked about each wrong boot', async (t) => {
  const own = scenarios.filter((file) => file.startsWith('wrong-') && !text(file).includes('/breaks.ts'));
  t.strictSame(own, [], 'none has a break of its own');
});

t.test('each break is booted', async (t) => {
  const all = scenarios.map(text).join('');
  const isBooted = (name: string) =>
    new RegExp(name in onVolumes ? `\\bonVolumes\\b` : `\\bbreaks\\.${name}\\b`).test(all);
  t.strictSame(
    Object.keys(breaks).filter((name) => !isBooted(name)),
    [],
  );
});
