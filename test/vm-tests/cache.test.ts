import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cached, cacheFolder, forgetOld } from '../../vm-tests/harness/cache.ts';

const DAY_MS = 86_400_000;

process.env['XDG_CACHE_HOME'] = t.testdir();

const images = () => readdirSync(cacheFolder()).filter((name) => name !== 'locks');

t.test('what is asked for twice at once is built once', async (t) => {
  let builds = 0;
  const build = async (folder: string) => {
    builds++;
    writeFileSync(join(folder, 'disk'), 'whole');
  };
  const [one, other] = await Promise.all([cached('base', 1, 1, build), cached('base', 1, 1, build)]);
  t.equal(one, other);
  t.equal(builds, 1);
  t.equal(readFileSync(join(one, 'disk'), 'utf8'), 'whole');
  t.not(await cached('base', 2, 1, build), one, 'other inputs make another one');
  t.equal(builds, 2);
});

t.test('a build that breaks off leaves nothing, and is tried again', async (t) => {
  const before = images();
  const half = async (folder: string) => {
    writeFileSync(join(folder, 'disk'), 'half');
    throw new Error('broken off');
  };
  await t.rejects(cached('broken', 1, 1, half), { message: 'broken off' });
  t.strictSame(images(), before);
  const folder = await cached('broken', 1, 1, async () => {});
  t.strictSame(readdirSync(folder), []);
});

t.test('no disk space: nothing is begun', async (t) => {
  const build = async () => {
    t.fail('the build was begun');
  };
  const fault = /build of huge: no disk space: expected 1000000000 MB free in .*, got \d+ MB/;
  await t.rejects(cached('huge', 1, 1e9, build), { name: 'HarnessError', message: fault });
});

t.test('what nobody asked for in a week is forgotten', async (t) => {
  const now = Date.now();
  const kept = await cached('kept', 1, 1, async () => {});
  const old = await cached('old', 1, 1, async () => {});
  const run = join(cacheFolder(), 'runs/old-run');
  mkdirSync(run, { recursive: true });
  const longAgo = new Date(now - 8 * DAY_MS);
  for (const path of [kept, old, run, join(cacheFolder(), 'locks')]) utimesSync(path, longAgo, longAgo);
  const again = async () => {
    t.fail('built again');
  };
  t.equal(await cached('kept', 1, 1, again), kept);
  forgetOld(now);
  t.ok(images().includes(kept.slice(cacheFolder().length + 1)), 'being asked for keeps it');
  t.notOk(images().includes(old.slice(cacheFolder().length + 1)));
  t.strictSame(readdirSync(join(cacheFolder(), 'runs')), []);
  t.ok(readdirSync(cacheFolder()).includes('locks'));
});
