import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mirror, rootTree } from './base.ts';
import { cached } from './cache.ts';
import { command } from './command.ts';
import type { Suite } from './guest.ts';
import { say } from './progress.ts';

const FREE_MB = 1000;
const DOWNLOAD_MS = 10 * 60_000;

/** As Debian has it, and what brings systemd-cryptsetup in, which is a package of its own from Debian 13 on. */
export const WITH_RECOMMENDED = ['-o', 'APT::Install-Recommends=true'];

/**
 * What apt needs in a guest without network to upgrade it to the next release: a layer with its lists and packages.
 * The machine's own apt downloads them, as the guest's would see the need for them.
 */
export async function nextRelease(from: Suite, to: Suite): Promise<string> {
  const tree = await rootTree(from);
  const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror()} ${to} main\n`;
  const folder = await cached(`upgrade-${from}-${to}`, { tree, source }, FREE_MB, async (folder) => {
    const step = `${from}: packages of the upgrade to ${to}`;
    say(`${step}: downloading`);
    const layer = join(folder, 'layer');
    const inLayer = (path: string) => {
      mkdirSync(dirname(join(layer, path)), { recursive: true });
      return join(layer, path);
    };
    writeFileSync(inLayer('etc/apt/sources.list'), source);
    const apt = [
      'apt-get',
      '--quiet',
      '--yes',
      ...WITH_RECOMMENDED,
      ...Object.entries({
        'Dir::State::status': join(tree, 'var/lib/dpkg/status'),
        'Dir::State::extended_states': join(folder, 'extended_states'),
        'Dir::State::lists': dirname(inLayer('var/lib/apt/lists/partial')),
        'Dir::Cache::archives': dirname(inLayer('var/cache/apt/archives/partial')),
        'Dir::Cache::pkgcache': '',
        'Dir::Cache::srcpkgcache': '',
        'Dir::Etc::SourceList': inLayer('etc/apt/sources.list'),
        'Dir::Etc::SourceParts': '/dev/null',
        'Acquire::Languages': 'none',
        'Acquire::Check-Valid-Until': 'false',
        'APT::Sandbox::User': 'root',
      }).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ];
    const log = `${folder}.log`;
    // A mirror that breaks off would leave nothing to upgrade, and apt content.
    await command([...apt, '--error-on=any', 'update'], { step, log, timeoutMs: DOWNLOAD_MS });
    await command([...apt, '--download-only', 'dist-upgrade'], { step, log, timeoutMs: DOWNLOAD_MS });
    rmSync(log);
  });
  return join(folder, 'layer');
}
