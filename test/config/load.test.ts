import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { files } from '../../src/os/files.ts';

t.test('an absent file is valid, and loads no YAML parser', async (t) => {
  const etc = t.testdir({});
  t.equal((await loadConfig(files, etc)).volumes.size, 0);
  const modules = (present: boolean) => {
    if (present) writeFileSync(`${etc}/config.yaml`, '');
    const url = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
    const program = `
      const { loadConfig } = await import(${url('config/load.ts')});
      const { files } = await import(${url('os/files.ts')});
      await loadConfig(files, ${JSON.stringify(etc)});
      const { createRequire } = await import('node:module');
      const loaded = Object.keys(createRequire(import.meta.url).cache);
      console.log(loaded.some((path) => path.includes('/node_modules/yaml/')));`;
    return execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', program])
      .toString()
      .trim();
  };
  t.equal(modules(false), 'false');
  t.equal(modules(true), 'true', 'and this test can tell');
});

t.test('a wrong one names file and line', async (t) => {
  const etc = t.testdir({ 'config.yaml': 'volumes:\n  data:\n    give-up-after: 90\n' });
  await t.rejects(loadConfig(files, etc), {
    code: 'bad-config',
    message: `${etc}/config.yaml:3: volumes.data.give-up-after: expected a duration with its unit (250ms, 90s, 5m, 2h, 1d), or 0 for no end, got 90`,
  });
});

t.test('a folder in its place, or a file that is too long', async (t) => {
  const folder = t.testdir({ 'config.yaml': {} });
  await t.rejects(loadConfig(files, folder), {
    code: 'bad-config',
    message: /expected a file, got a folder/,
  });
  const long = t.testdir({ 'config.yaml': '#'.repeat(1024 * 1024 + 1) });
  await t.rejects(loadConfig(files, long), { code: 'bad-config', message: /at most 1048576 bytes/ });
});
