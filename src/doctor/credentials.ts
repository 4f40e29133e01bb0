import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { SOCKETS } from '../status/volume.ts';
import type { CredentialUse, Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';
import { readUnit } from './unit-files.ts';

/** Services that ask one of our sockets for a credential. @param folders of units */
export async function credentialUses(files: Files, folders: readonly string[]): Promise<CredentialUse[]> {
  const units = new Set<string>();
  for (const folder of folders) {
    for (const name of await files.list(folder)) {
      if (name.endsWith('.service') && (await mentionsUs(files, `${folder}/${name}`))) units.add(name);
      if (!name.endsWith('.service.d')) continue;
      for (const dropIn of await files.list(`${folder}/${name}`)) {
        if (await mentionsUs(files, `${folder}/${name}/${dropIn}`)) units.add(name.slice(0, -'.d'.length));
      }
    }
  }
  const uses: CredentialUse[] = [];
  for (const unit of units) {
    const file = await readUnit(files, folders, unit);
    const before = file?.values('Service', 'ExecStartPre') ?? [];
    for (const value of file?.values('Service', 'LoadCredential') ?? []) {
      const [credential = '', path = ''] = value.split(':');
      if (!path.startsWith(SOCKETS)) continue;
      uses.push({ unit, credential, isTested: before.some((command) => isTestOf(command, credential)) });
    }
  }
  return uses;
}

async function mentionsUs(files: Files, path: string): Promise<boolean> {
  // What is masked, or a broken link, asks for nothing.
  const text = await files.read(path, limits.configBytes).catch(() => null);
  return text?.includes(`:${SOCKETS}`) === true;
}

/** `/usr/bin/test -s %d/ID`, whose failure is not ignored. */
function isTestOf(command: string, credential: string): boolean {
  return (
    /^(?!-)\S*\/(?:test|\[) -s /.test(command) &&
    [`%d/${credential}`, `\${CREDENTIALS_DIRECTORY}/${credential}`].some((path) => command.includes(path))
  );
}

/** systemd takes the end of a connection on which nothing came for an empty credential (systemd issue 27373). */
export function checkCredentials({ credentials }: Facts): Finding[] {
  return credentials
    .filter(({ isTested }) => !isTested)
    .map(({ unit, credential }) => {
      const what = `it starts with an empty credential ${credential} when whoever should bring it is killed or cannot start`;
      const fix = `ExecStartPre=/usr/bin/test -s %d/${credential} in ${unit}`;
      return finding('credential-may-be-empty', unit, what, fix);
    });
}
