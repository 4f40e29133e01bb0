import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ownLicence } from './licences.ts';

const root = resolve(import.meta.dirname, '..');

/** @param path from the top of the work tree */
export const source = (path: string) => readFileSync(join(root, path));

export const productNames = ['fetch-luks-key', 'luks-key-server'] as const;
export type ProductName = (typeof productNames)[number];

export interface Product {
  readonly name: ProductName;
  readonly version: string;
  /** Debian's name of the processor. */
  readonly architecture: string;
  /** Path of the executable. */
  readonly executable: string;
  /** The licences of all that the executable holds beside our own code. */
  readonly licences: string;
}

/** Files by their path in the package, with their modes (default 0o644); a path that ends in a slash is a folder. */
export type Contents = Record<string, { content: Uint8Array | string; mode?: number }>;

/** What a package installs. */
export function contents(product: Product): Contents {
  const { name, executable, licences } = product;
  const doc = `usr/share/doc/${name}`;
  const completion = 'packaging/completion';
  return {
    [`usr/bin/${name}`]: { content: readFileSync(executable), mode: 0o755 },
    ...Object.fromEntries(
      globSync(`units/${name}*`, { cwd: root }).map((unit) => [
        `usr/lib/systemd/system/${unit.slice('units/'.length)}`,
        { content: source(unit) },
      ]),
    ),
    ...manual(`${name}.1`),
    ...manual(`${name}.yaml.5`),
    [`usr/share/bash-completion/completions/${name}`]: { content: source(`${completion}/${name}.bash`) },
    [`usr/share/zsh/vendor-completions/_${name}`]: { content: source(`${completion}/_${name}`) },
    [`usr/share/fish/vendor_completions.d/${name}.fish`]: { content: source(`${completion}/${name}.fish`) },
    [`${doc}/copyright`]: { content: ownLicence(name) },
    [`${doc}/licences.gz`]: compressed(Buffer.from(licences)),
    [`${doc}/changelog.gz`]: compressed(source('packaging/debian/changelog')),
    [`${doc}/README.md.gz`]: compressed(source('README.md')),
    [`usr/share/lintian/overrides/${name}`]: {
      content: source(`packaging/debian/${name}/lintian-overrides`),
    },
    ...ofItsOwn[name](doc),
  };
}

const ofItsOwn: Readonly<Record<ProductName, (doc: string) => Contents>> = {
  'fetch-luks-key': (doc) => ({
    'usr/lib/sysusers.d/fetch-luks-key.conf': {
      content: source('packaging/debian/fetch-luks-key/sysusers.conf'),
    },
    // For root alone: what is sealed is no secret, what joins a server will be.
    'etc/fetch-luks-key/': { content: '', mode: 0o700 },
    'etc/fetch-luks-key/volumes/': { content: '', mode: 0o700 },
    // The keep-alive daemon may write nowhere else below /etc.
    'etc/fetch-luks-key/audit-heads/': { content: '', mode: 0o700 },
    'etc/fetch-luks-key/server-keys/': { content: '', mode: 0o700 },
    [`${doc}/SITE.md.gz`]: compressed(source('docs/SITE.md')),
    [`${doc}/examples/config.yaml`]: { content: source('etc/config.yaml.example') },
    [`${doc}/examples/crypttab`]: { content: source('etc/crypttab.example') },
  }),
  'luks-key-server': (doc) => ({
    // The service's own user reads it: secrets are named there, and lie elsewhere.
    'etc/luks-key-server/': { content: '', mode: 0o755 },
    [`${doc}/PROTOCOL.md.gz`]: compressed(source('docs/PROTOCOL.md')),
    [`${doc}/THREAT-MODEL.md.gz`]: compressed(source('docs/THREAT-MODEL.md')),
    [`${doc}/examples/config.yaml`]: { content: source('etc/luks-key-server.yaml.example') },
  }),
};

function compressed(bytes: Uint8Array): { content: Uint8Array } {
  return { content: gzipSync(bytes, { level: 9 }) };
}

function manual(page: string): Contents {
  return { [`usr/share/man/man${page.at(-1)}/${page}.gz`]: compressed(source(`docs/man/${page}`)) };
}
