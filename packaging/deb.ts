import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from './executable.ts';
import { type Contents, contents, type Product, source } from './products.ts';

/**
 * A Debian package (deb(5)) of one executable and what belongs to it. The same sources give the same bytes: names are
 * sorted, owners are root, times are the changelog's.
 * @param output appears when it is complete
 * @throws Error with the tool's own words
 */
export function buildDeb(product: Product, output: string): void {
  const { version } = product;
  const changelog = source('packaging/debian/changelog').toString();
  if (!changelog.startsWith(`fetch-luks-key (${version}) `)) {
    throw new Error(`packaging/debian/changelog: expected version ${version} as in package.json first`);
  }
  mkdirSync(dirname(output), { recursive: true });
  const work = mkdtempSync(`${dirname(output)}/.package-`);
  try {
    const tree = join(work, 'tree');
    stage(tree, contents(product));
    stage(join(tree, 'DEBIAN'), control(product, tree));
    const date = dateOf(changelog);
    for (const path of ['', ...readdirSync(tree, { recursive: true, encoding: 'utf8' })]) {
      utimesSync(join(tree, path), date, date);
    }
    const build = ['--root-owner-group', '-Zxz', '-z1', '--build', 'tree', 'package.deb'];
    run('env', [`SOURCE_DATE_EPOCH=${date}`, 'dpkg-deb', ...build], work, 'apt-get install dpkg');
    // As old as its executable says that its sources were: what was saved during the build counts as newer.
    const { mtime } = statSync(product.executable);
    utimesSync(join(work, 'package.deb'), mtime, mtime);
    renameSync(join(work, 'package.deb'), output);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** @param tree holds what is to be installed */
function control({ name, version, architecture }: Product, tree: string): Contents {
  const files = filesIn(tree);
  const bytes = files.reduce((sum, path) => sum + statSync(join(tree, path)).size, 0);
  const sums = files.map((path) => {
    const sum = createHash('md5')
      .update(readFileSync(join(tree, path)))
      .digest('hex');
    return `${sum}  ${path}\n`;
  });
  const from = `packaging/debian/${name}`;
  const script = (step: string) => ({ [step]: { content: source(`${from}/${step}`), mode: 0o755 } });
  return {
    control: {
      content: source(`${from}/control`)
        .toString()
        .replace('@VERSION@', version)
        .replace('@ARCHITECTURE@', architecture)
        .replace('@INSTALLED_KIB@', String(Math.ceil(bytes / 1024))),
    },
    md5sums: { content: sums.join('') },
    ...script('postinst'),
    ...script('prerm'),
    ...script('postrm'),
  };
}

function stage(folder: string, files: Contents): void {
  for (const [path, { content, mode = 0o644 }] of Object.entries(files)) {
    const target = join(folder, path);
    makeFolder(dirname(target));
    if (path.endsWith('/')) makeFolder(target);
    else writeFileSync(target, content);
    chmodSync(target, mode);
  }
}

/** With this mode whatever the umask. */
function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  makeFolder(dirname(path));
  mkdirSync(path);
  chmodSync(path, 0o755);
}

/** Relative paths of all files, sorted. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** When the newest version was made, in seconds since 1970 (deb-changelog(5)). */
function dateOf(changelog: string): number {
  const [, date = ''] = /^ -- .*> {2}(.*)$/m.exec(changelog) ?? [];
  const ms = Date.parse(date);
  if (Number.isNaN(ms))
    throw new Error(`packaging/debian/changelog: expected a date, got ${JSON.stringify(date)}`);
  return ms / 1000;
}
