import { AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { credentialName } from '../base/names.ts';
import type { Connection, Files } from '../base/ports.ts';
import type { Config } from '../config/config.ts';
import { sharedSocket } from '../credentials/drop-in.ts';
import { type Form, placesOf } from '../credentials/place.ts';
import { servedOn } from '../handler/serves.ts';
import { SOCKETS, sealedKeyFacts } from '../status/volume.ts';
import type { CredentialUnits } from './credential-units.ts';
import type { CredentialUse, Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';
import { readUnit } from './unit-files.ts';
import { INSTALL_AGAIN } from './units.ts';

const settings: readonly (readonly [string, Form])[] = [
  ['LoadCredential', 'plain'],
  ['LoadCredentialEncrypted', 'encrypted'],
];

/** Services that ask one of our sockets for a credential. @param folders of units */
export async function credentialUses(
  files: Files,
  folders: readonly string[],
  etc: string,
  config: Config,
): Promise<CredentialUse[]> {
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
    for (const [setting, form] of settings) {
      for (const value of file?.values('Service', setting) ?? []) {
        const [credential = '', path = ''] = value.split(':');
        if (!path.startsWith(SOCKETS)) continue;
        // What is encrypted systemd authenticates: of nothing it makes no credential.
        const isTested = form === 'encrypted' || before.some((command) => isTestOf(command, credential));
        const asked = { unit, credential, path, form };
        uses.push({ ...asked, isTested, ...(await servedTo(asked, etc, config, files)) });
      }
    }
  }
  return uses;
}

/** As the handler decides, and looks for it. A template is asked for by its instances, one by one. */
async function servedTo(
  { unit, credential, path, form }: Pick<CredentialUse, 'unit' | 'credential' | 'path' | 'form'>,
  etc: string,
  config: Config,
  files: Files,
): Promise<Pick<CredentialUse, 'refusal' | 'missing' | 'policy'>> {
  const none = { refusal: null, missing: null, policy: null };
  try {
    const names = credentialName(unit, credential);
    const request = { kind: 'credential', ...names } as const;
    const { forms = [] } = servedOn({ socketPath: path, way: wayOf(path) }, request, config) as {
      forms?: readonly Form[];
    };
    if (!forms.includes(form)) return { ...none, refusal: `it serves ${forms.join(' and ')} ones alone` };
    if (unit.includes('@.')) return none;
    const places = placesOf(etc, names, forms);
    for (const place of places) {
      const text = await files.read(place, limits.sealedKeyBytes);
      if (text !== null)
        return { ...none, policy: sealedKeyFacts(text.toString('latin1'), place, []).policy };
    }
    return { ...none, missing: `no ${places.join(', no ')}` };
  } catch (thrown) {
    return { ...none, refusal: asAppError(thrown).message };
  }
}

/** How a connection to it comes to the program: as its unit has it. */
function wayOf(path: string): Connection['way'] {
  if (path === sharedSocket.path) return 'listener';
  return path.startsWith(`${SOCKETS}credentials/`) ? 'standard-input' : 'descriptor';
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
function checkTested({ unit, credential, isTested }: CredentialUse): Finding[] {
  if (isTested) return [];
  const what = `it starts with an empty credential ${credential} when whoever should bring it is killed or cannot start`;
  const fix = `ExecStartPre=/usr/bin/test -s %d/${credential} in ${unit}`;
  return [finding('credential-may-be-empty', unit, what, fix)];
}

function checkSealed({ unit, credential, missing }: CredentialUse): Finding[] {
  if (missing === null) return [];
  const what = `nothing is sealed for its credential ${credential} (${missing}): it is refused, and does not start`;
  const fix = `fetch-luks-key seal --credential ${unit}/${credential} PIN CONFIG < SECRET`;
  return [finding('credential-refused', unit, what, fix)];
}

function checkSocket({ unit, credential, path, refusal }: CredentialUse): Finding[] {
  if (refusal === null) return [];
  const what = `${path} is asked for its credential ${credential}, and refuses (${refusal}): it does not start`;
  const fix = `fetch-luks-key credential install ${unit} ${credential}, and take its own LoadCredential= out`;
  return [finding('credential-refused', unit, what, fix)];
}

/** The units that answer at a path. @returns null where none of ours does */
export function unitsAt(path: string): { readonly socket: string; readonly handler: string } | null {
  if (path === sharedSocket.path) {
    return { socket: sharedSocket.unit, handler: 'fetch-luks-key-encrypted.service' };
  }
  const [, folder, instance] = /^\/run\/fetch-luks-key\/(credentials\/)?([\w.:-]+)\.sock$/.exec(path) ?? [];
  if (instance === undefined) return null;
  const name = folder === undefined ? 'fetch-luks-key' : 'fetch-luks-key-credential';
  return { socket: `${name}@${instance}.socket`, handler: `${name}@.service` };
}

/** What services get: from the right socket, once it is there, and never nothing. */
export function checkCredentials({ credentials, units }: Facts): Finding[] {
  return [
    ...credentials.flatMap((use) => [...checkSocket(use), ...checkSealed(use), ...checkTested(use)]),
    ...(units instanceof AppError ? [] : units.credentials.flatMap(checkUnits)),
  ];
}

function checkUnits({ socket, handler, isThere, handlerIsThere, late }: CredentialUnits): Finding[] {
  if (!isThere || !handlerIsThere) {
    const which = isThere ? handler : socket;
    const what =
      'there is no such unit, or it is masked, so nobody answers services that ask for their secrets';
    return [finding('socket-missing', which, what, INSTALL_AGAIN)];
  }
  return late.map((unit) => {
    const what = `it does not wait for ${socket}, which may not listen yet, or not at all, when ${unit} asks for its secret`;
    const fix = `Wants=${socket} and After=${socket} in ${unit}, as fetch-luks-key credential install writes them`;
    return finding('credential-socket-late', unit, what, fix);
  });
}
