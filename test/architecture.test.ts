import { globSync, readFileSync } from 'node:fs';
import { posix, resolve } from 'node:path';
import t from 'tap';

const root = resolve(import.meta.dirname, '..');
const maxLines = 250;

interface Rules {
  /** For each folder of src, what it may import from src; null is everything. */
  readonly folders: ReadonlyMap<string, ReadonlySet<string> | null>;
  /** For each package, where it may be imported. */
  readonly packages: ReadonlyMap<string, ReadonlySet<string>>;
}

const quoted = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');

/** Rows of the Markdown table whose first header cell is `title`, as trimmed cells. */
function rows(markdown: string, title: string): string[][] {
  const lines = markdown.split('\n');
  const head = lines.findIndex((line) => new RegExp(`^\\|\\s*${title}\\s*\\|`).test(line));
  if (head < 0) throw new Error(`no table of ${title}s`);
  const body = lines.slice(head + 2);
  const end = body.findIndex((line) => !line.startsWith('|'));
  return body.slice(0, end < 0 ? undefined : end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

function parseRules(markdown: string): Rules {
  const folders = new Map<string, Set<string> | null>();
  for (const [folder = '', , may = ''] of rows(markdown, 'folder')) {
    folders.set(quoted(folder)[0] ?? '', may === 'all' ? null : new Set(quoted(may)));
  }
  const packages = new Map<string, Set<string>>();
  for (const [names = '', where = ''] of rows(markdown, 'package')) {
    for (const name of quoted(names)) packages.set(name, new Set(quoted(where)));
  }
  return { folders, packages };
}

/** What a source imports: static, dynamic, re-exported, types in `import('…')`. Computed ones come out as `?`. */
function importsOf(source: string): string[] {
  const code = source.replace(/^\s*\/\*[\s\S]*?\*\//gm, '').replace(/^\s*\/\/.*$/gm, '');
  const found = [...code.matchAll(/^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/gm)];
  found.push(...code.matchAll(/^\s*import\s*['"]([^'"]+)['"]/gm));
  found.push(...code.matchAll(/\b(?:import|require)\s*\(\s*(?:['"]([^'"]+)['"]\s*[,)])?/g));
  return found.map((match) => match[1] ?? '?');
}

/** `node:fs/promises` → `node:fs`, `undici/lib/x.js` → `undici`, `@scope/name/x` → `@scope/name`. */
function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

/** `src/base/a.ts` → `base`, `src/server/store/a.ts` → `server/store`. */
function folderOf(file: string): string {
  return posix.dirname(file).split('/').slice(1).join('/');
}

/** @returns null when `file` may import `specifier` */
function importFault(rules: Rules, file: string, specifier: string): string | null {
  const own = folderOf(file);
  const target = specifier.startsWith('.')
    ? posix.normalize(posix.join(posix.dirname(file), specifier))
    : specifier;
  if (target.startsWith('src/')) {
    const other = folderOf(target);
    const may = rules.folders.get(own);
    return other === own || may === null || may?.has(other)
      ? null
      : `${file}: ${own} may not import ${other}`;
  }
  const name = packageOf(target);
  return rules.packages.get(name)?.has(own) ? null : `${file}: ${own} may not import ${name}`;
}

/** Everything that is wrong with `files` (path from the root → source), in words. */
function faults(rules: Rules, files: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  for (const [file, source] of files) {
    if (!rules.folders.has(folderOf(file))) found.push(`${file}: not in a known folder`);
    if (/(^|[/.-])(utils?|helpers?)([/.-]|$)/.test(file)) found.push(`${file}: say what it holds`);
    const lines = source.split('\n').length - 1;
    if (lines > maxLines) found.push(`${file}: ${lines} lines`);
    found.push(...importsOf(source).flatMap((specifier) => importFault(rules, file, specifier) ?? []));
  }
  return found;
}

const example = `
| folder | holds | may import |
| ------ | ----- | ---------- |
| \`base\` | x | – |
| \`core\` | x | \`base\` |
| \`core/inner\` | x | \`base\` |
| \`os\` | x | \`base\` |
| \`bin\` | x | all |

| package | only in |
| ------- | ------- |
| \`node:fs\`, \`undici\` | \`os\` |
| \`package.json\` | \`base\` |
`;

const wrong: [title: string, file: string, source: string, fault: string][] = [
  ['static', 'src/base/a.ts', "import { b } from '../core/b.ts';\n", 'base may not import core'],
  ['type', 'src/base/a.ts', "import type { B } from '../core/b.ts';\n", 'base may not import core'],
  [
    'over lines',
    'src/base/a.ts',
    "import {\n  b,\n  c,\n} from '../core/b.ts';\n",
    'base may not import core',
  ],
  ['bare', 'src/base/a.ts', "import '../core/b.ts';\n", 'base may not import core'],
  ['dynamic', 'src/core/a.ts', "const x = await import('../os/b.ts');\n", 'core may not import os'],
  ['computed', 'src/core/a.ts', 'const x = await import(`../$' + '{y}.ts`);\n', 'core may not import ?'],
  ['type query', 'src/core/a.ts', "type X = import('../os/b.ts').X;\n", 'core may not import os'],
  ['re-export', 'src/core/a.ts', "export { b } from '../os/b.ts';\n", 'core may not import os'],
  ['export all', 'src/core/a.ts', "export * from '../os/b.ts';\n", 'core may not import os'],
  ['up again', 'src/core/a.ts', "import { b } from '../base/../os/b.ts';\n", 'core may not import os'],
  [
    'builtin',
    'src/core/a.ts',
    "import { readFile } from 'node:fs/promises';\n",
    'core may not import node:fs',
  ],
  ['unlisted builtin', 'src/os/a.ts', "import { run } from 'node:vm';\n", 'os may not import node:vm'],
  ['builtin without node:', 'src/os/a.ts', "import { run } from 'fs';\n", 'os may not import fs'],
  ['package', 'src/bin/a.ts', "import { Client } from 'undici';\n", 'bin may not import undici'],
  ['scoped package', 'src/os/a.ts', "import x from '@a/b/c';\n", 'os may not import @a/b'],
  ['outside src', 'src/os/a.ts', "import x from '../../package.json';\n", 'os may not import package.json'],
  ['tests', 'src/os/a.ts', "import x from '../../test/x.ts';\n", 'os may not import test'],
  ['unknown folder', 'src/else/a.ts', '\n', 'not in a known folder'],
  ['no folder', 'src/a.ts', '\n', 'not in a known folder'],
  ['folder in a folder', 'src/core/deep/a.ts', '\n', 'not in a known folder'],
  ['inner folder', 'src/core/a.ts', "import { b } from './inner/b.ts';\n", 'core may not import core/inner'],
  ['outer folder', 'src/core/inner/a.ts', "import { b } from '../b.ts';\n", 'core/inner may not import core'],
  ['utils', 'src/core/string-utils.ts', '\n', 'say what it holds'],
  ['helpers', 'src/helpers/a.ts', '\n', 'say what it holds'],
  ['too long', 'src/core/a.ts', '\n'.repeat(maxLines + 1), '251 lines'],
];

t.test('the checker finds what is wrong', async (t) => {
  const rules = parseRules(example);
  for (const [title, file, source, fault] of wrong) {
    const found = faults(rules, new Map([[file, source]]));
    t.ok(
      found.some((line) => line.includes(fault)),
      title,
      { found },
    );
  }
});

t.test('and nothing else', async (t) => {
  const fine = new Map([
    [
      'src/core/a.ts',
      "import { b } from '../base/b.ts';\nimport { c } from './c.ts';\n// import '../os/x.ts'\n",
    ],
    [
      'src/os/a.ts',
      "/**\n * import { x } from '../core/x.ts';\n */\nimport { readFile } from 'node:fs/promises';\n",
    ],
    ['src/base/a.ts', "import manifest from '../../package.json' with { type: 'json' };\n"],
    ['src/bin/a.ts', "import { a } from '../core/a.ts';\nconst b = await import('../os/b.ts');\n"],
    ['src/core/inner/a.ts', "import { b } from '../../base/b.ts';\nimport { c } from './c.ts';\n"],
    ['src/core/long.ts', '\n'.repeat(maxLines)],
  ]);
  t.same(faults(parseRules(example), fine), []);
});

t.test('every import keeps to docs/ARCHITECTURE.md', async (t) => {
  const rules = parseRules(readFileSync(`${root}/docs/ARCHITECTURE.md`, 'utf8'));
  const names = globSync('src/**/*', { cwd: root, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => posix.relative(root, posix.join(entry.parentPath, entry.name)));
  const files = new Map(names.sort().map((name) => [name, readFileSync(`${root}/${name}`, 'utf8')]));
  t.ok(files.size > 0);
  t.same(faults(rules, files), []);
  const used = new Set(names.map(folderOf));
  t.same(
    [...rules.folders.keys()].filter((folder) => !used.has(folder)),
    [],
    'no folder that is not there',
  );
});
