import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HarnessError } from './command.ts';
import type { GuestFile } from './guest.ts';

const UNITS = join(import.meta.dirname, '../../units');

export const SOCKET_FILE = 'fetch-luks-key@.socket';
export const SERVICE_FILE = 'fetch-luks-key@.service';

/** Each text of a unit that a wrong one has otherwise; each must be there once. */
export type Changes = readonly (readonly [from: string, to: string])[];

export const DEFAULT_DEPENDENCIES: Changes = [['DefaultDependencies=no\n', '']];
/** As sockets commonly have it: sysinit.target, which ours has, would make one more cycle of it. */
export const WANTED_BY_SOCKETS: Changes = [['WantedBy=sysinit.target', 'WantedBy=sockets.target']];
export const NOT_BEFORE_CRYPTSETUP: Changes = [
  ['Wants=cryptsetup-pre.target\n', ''],
  ['Before=cryptsetup-pre.target\n', ''],
];

/** A unit as somebody might write it, in the place where it overrides ours. */
export function wrongUnit(name: string, changes: Changes): Readonly<Record<string, GuestFile>> {
  let content = readFileSync(join(UNITS, name), 'utf8');
  for (const [from, to] of changes) {
    const parts = content.split(from);
    if (parts.length !== 2) {
      throw new HarnessError(
        `wrong ${name}`,
        `expected ${JSON.stringify(from)} once, got it ${parts.length - 1} times`,
      );
    }
    content = parts.join(to);
  }
  return { [`/etc/systemd/system/${name}`]: { content } };
}

/** A line more in the service's section [Unit]. */
export const serviceWithDependency = (line: string) =>
  wrongUnit(SERVICE_FILE, [['DefaultDependencies=no\n', `DefaultDependencies=no\n${line}\n`]]);

/** A line more in the service. */
export const serviceWith = (line: string) =>
  wrongUnit(SERVICE_FILE, [
    ['ExecStart=/usr/bin/fetch-luks-key handle\n', `ExecStart=/usr/bin/fetch-luks-key handle\n${line}\n`],
  ]);
