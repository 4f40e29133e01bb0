import { createHash } from 'node:crypto';
import {
  chmodSync,
  globSync,
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
import { dirname, join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { run } from './executable.ts';
import { ownLicence } from './licences.ts';

const root = resolve(import.meta.dirname, '..');
const source = (path: string) => readFileSync(join(root, path));
const DOC = 'usr/share/doc/fetch-luks-key';

export interface Product {
  readonly version: string;
  /** Debian's name of the processor. */
  readonly architecture: string;
  /** Path of the executable. */
  readonly executable: string;
  /** The licences of all that the executable holds beside our own code. */
  readonly licences: string;
}

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
    renameSync(join(work, 'package.deb'), output);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Files by their path in the package, with their modes; a path that ends in a slash is a folder. */
type Contents = Record<string, { content: Uint8Array | string; mode?: number }>;

function contents({ executable, licences }: Product): Contents {
  const compressed = (bytes: Uint8Array) => ({ content: gzipSync(bytes, { level: 9 }) });
  const manual = (name: string) => ({
    [`usr/share/man/man${name.at(-1)}/${name}.gz`]: compressed(source(`docs/man/${name}`)),
  });
  const completion = 'packaging/completion';
  return {
    'usr/bin/fetch-luks-key': { content: readFileSync(executable), mode: 0o755 },
    ...Object.fromEntries(
      globSync('units/fetch-luks-key*', { cwd: root }).map((unit) => [
        `usr/lib/systemd/system/${unit.slice('units/'.length)}`,
        { content: source(unit) },
      ]),
    ),
    'usr/lib/sysusers.d/fetch-luks-key.conf': { content: source('packaging/debian/sysusers.conf') },
    // For root alone: what is sealed is no secret, what joins a server will be.
    'etc/fetch-luks-key/': { content: '', mode: 0o700 },
    'etc/fetch-luks-key/volumes/': { content: '', mode: 0o700 },
    // The keep-alive daemon may write nowhere else below /etc.
    'etc/fetch-luks-key/audit-heads/': { content: '', mode: 0o700 },
    ...manual('fetch-luks-key.1'),
    ...manual('fetch-luks-key.yaml.5'),
    'usr/share/bash-completion/completions/fetch-luks-key': {
      content: source(`${completion}/fetch-luks-key.bash`),
    },
    'usr/share/zsh/vendor-completions/_fetch-luks-key': { content: source(`${completion}/_fetch-luks-key`) },
    'usr/share/fish/vendor_completions.d/fetch-luks-key.fish': {
      content: source(`${completion}/fetch-luks-key.fish`),
    },
    [`${DOC}/copyright`]: { content: ownLicence() },
    [`${DOC}/licences.gz`]: compressed(Buffer.from(licences)),
    [`${DOC}/changelog.gz`]: compressed(source('packaging/debian/changelog')),
    [`${DOC}/README.md.gz`]: compressed(source('README.md')),
    [`${DOC}/examples/config.yaml`]: { content: source('etc/config.yaml.example') },
    [`${DOC}/examples/crypttab`]: { content: source('etc/crypttab.example') },
    'usr/share/lintian/overrides/fetch-luks-key': { content: source('packaging/debian/lintian-overrides') },
  };
}

/** @param tree holds what is to be installed */
function control({ version, architecture }: Product, tree: string): Contents {
  const files = filesIn(tree);
  const bytes = files.reduce((sum, path) => sum + statSync(join(tree, path)).size, 0);
  const sums = files.map((path) => {
    const sum = createHash('md5')
      .update(readFileSync(join(tree, path)))
      .digest('hex');
    return `${sum}  ${path}\n`;
  });
  const script = (name: string) => ({ [name]: { content: source(`packaging/debian/${name}`), mode: 0o755 } });
  return {
    control: {
      content: source('packaging/debian/control')
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
