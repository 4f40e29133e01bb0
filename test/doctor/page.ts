import { readFileSync, writeFileSync } from 'node:fs';
import { severityOf } from '../../src/doctor/finding.ts';
import type { KeyServerProcess } from '../support/key-server.ts';
import { enrolledSetUps } from './enrolled-set-ups.ts';
import { initramfsSetUps } from './initramfs-set-ups.ts';
import { pinSetUps } from './pin-set-ups.ts';
import { serverSetUps } from './server-set-ups.ts';
import { unitSetUps } from './unit-set-ups.ts';
import { headerSetUps, lineSetUps } from './volume-set-ups.ts';

/** The table of docs/DOCTOR.md: every finding, and the broken machines that the tests look for it on. */

const FILE = new URL('../../docs/DOCTOR.md', import.meta.url);
const BEGIN = '<!-- npm run doctor-page -->\n';
const END = '<!-- end -->\n';

/** Only their titles are asked for here. */
const noServer = (): KeyServerProcess => {
  throw new Error('there is no server');
};

const all = [
  ...unitSetUps,
  ...lineSetUps,
  ...headerSetUps,
  ...enrolledSetUps,
  ...pinSetUps,
  ...serverSetUps(noServer),
  ...initramfsSetUps,
];

export function table(): string {
  const rows = Object.entries(severityOf).map(([code, severity]) => {
    const titles = all.filter(({ finds }) => finds === code).map(({ title }) => title);
    return `| [\`${code}\`](#${code}) | ${severity} | ${titles.join('; ')} |\n`;
  });
  return `| code | severity | found on |\n| ---- | -------- | -------- |\n${rows.join('')}`;
}

/** Findings that no test looks for. */
export function untested(): string[] {
  return Object.keys(severityOf).filter((code) => !all.some(({ finds }) => finds === code));
}

/** The page as it is in the repository. */
export function committedPage(): { text: string; table: string } {
  const text = readFileSync(FILE, 'utf8');
  return { text, table: text.slice(text.indexOf(BEGIN) + BEGIN.length, text.indexOf(END)) };
}

if (import.meta.main) {
  const { text } = committedPage();
  const before = text.slice(0, text.indexOf(BEGIN) + BEGIN.length);
  writeFileSync(FILE, `${before}${table()}${text.slice(text.indexOf(END))}`);
}
