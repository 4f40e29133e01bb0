import { AppError } from '../base/errors.ts';
import { OPTION, parseCrypttab } from './crypttab.ts';

/** What a volume's line is to say. */
export interface WantedLine {
  readonly volume: string;
  /** Second field of a line that is added; one that is there keeps its own. */
  readonly device: string;
  readonly keyFile: string;
  /** Options that the fourth field must have; those that it has stay. */
  readonly options: readonly string[];
  /** But for these. */
  readonly without?: RegExp;
}

export interface CrypttabEdit {
  readonly bytes: Buffer;
  /** Unified diff without context, as patch(1) takes it; empty when nothing changes. */
  readonly diff: string;
  /** The line as it was, without its line end, one character per byte; null: it is added. */
  readonly before: string | null;
  /** The line as it is now, likewise. */
  readonly after: string;
}

/**
 * crypttab(5) in which the volume's line, the first when there are two, names this key file; without such a line one
 * is added at the end. Every other byte stays: comments, white space, line ends, what is not UTF-8, what else is on the
 * line.
 * @param path for the diff
 * @throws AppError `bad-config` for options that systemd cannot read, nor would with ours among them
 */
export function withKeyFile(bytes: Uint8Array, wanted: WantedLine, path: string): CrypttabEdit {
  const lines = linesOf(bytes);
  const index = indexOf(lines, wanted.volume);
  if (index === null) return added(lines, wanted, path);
  const { text: before, end } = lines[index] ?? noLine;
  const after = changed(before, wanted, `${path}:${index + 1}`);
  const edited = lines.with(index, { text: after, end });
  return { bytes: joined(edited), before, after, diff: before === after ? '' : diff(path, lines, edited) };
}

/**
 * Takes an edit back where its line is still as the edit left it.
 * @returns null where it is not: somebody has changed it since
 */
export function withoutEdit(
  bytes: Uint8Array,
  { before, after }: Pick<CrypttabEdit, 'before' | 'after'>,
): Buffer | null {
  const lines = linesOf(bytes);
  const index = lines.findIndex(({ text }) => text === after);
  const { end } = lines[index] ?? noLine;
  if (index === -1) return null;
  return joined(before === null ? lines.toSpliced(index, 1) : lines.with(index, { text: before, end }));
}

/**
 * Options that do not go with a socket as key file (systemd's src/cryptsetup/cryptsetup.c): a part of a key file
 * cannot be asked of one, and to erase it removes the socket; of a token it asks for something else than a key; who has
 * a key script asks nobody.
 */
const CONFLICTS =
  /^(?:keyfile-offset|keyfile-size|tpm2-device|fido2-device|pkcs11-uri|keyscript)=|^(?:plain|swap|tmp(?:=.*)?|bitlk|tcrypt\S*|keyfile-erase(?:=.*)?)$/;

/** Options of crypttab(5) about a key file, or about a TPM2 token of systemd-cryptenroll(1). */
export const OTHER_KEY_OPTIONS =
  /^(?:keyfile-(?:offset|size|timeout|erase)|tpm2-(?:device|device-key|pcrs|pin|signature|pcrlock))(?:=|$)/;

/** @throws AppError `bad-config` */
export function checkOptions(options: readonly string[], where: string): void {
  const conflict = options.find((option) => CONFLICTS.test(option));
  if (conflict === undefined) return;
  throw new AppError('bad-config', `${where}: option ${conflict} does not go with a socket as key file`, {
    hint: 'take it out of the line first, or give --no-crypttab',
  });
}

interface Line {
  readonly text: string;
  /** `\n`, or nothing behind the last one. A carriage return belongs to the text: it is white space. */
  readonly end: string;
}

const noLine: Line = { text: '', end: '' };

/** One character per byte, so that what is not UTF-8 comes out as it went in. */
function linesOf(bytes: Uint8Array): Line[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  return (text.match(/[^\n]*\n|[^\n]+$/g) ?? []).map((line) =>
    line.endsWith('\n') ? { text: line.slice(0, -1), end: '\n' } : { text: line, end: '' },
  );
}

function joined(lines: readonly Line[]): Buffer {
  return Buffer.from(lines.map(({ text, end }) => text + end).join(''), 'latin1');
}

/** Of text with one character per byte. */
const asBytes = (text: string) => Buffer.from(text).toString('latin1');

function indexOf(lines: readonly Line[], volume: string): number | null {
  const { entries } = parseCrypttab(lines.map(({ text }) => text).join('\n'));
  const entry = entries.find((one) => one.volume === asBytes(volume));
  return entry === undefined ? null : entry.line - 1;
}

/** Fields and the white space before each; what follows the fourth stays in the rest. */
const FIELDS =
  /^(?<head>[ \t\r\v\f]*[^ \t\r\v\f]+(?<gap>[ \t\v\f]+)[^ \t\r\v\f]+)(?:(?<keyGap>[ \t\v\f]+)(?<key>[^ \t\r\v\f]+)(?:(?<optionGap>[ \t\v\f]+)(?<options>[^ \t\r\v\f]+))?)?(?<rest>.*)$/s;

/** Any other backslash is an error to systemd-cryptsetup (its parse_options, extract_first_word). */
const READABLE = /^(?:[^\\]|\\[,\\])*$/s;

function changed(line: string, { keyFile, options, without }: WantedLine, where: string): string {
  const found = FIELDS.exec(line)?.groups ?? {};
  const { head = line, gap = ' ', keyGap = gap, optionGap = keyGap, rest = '' } = found;
  const had = found['options'];
  if (had !== undefined && !READABLE.test(had)) {
    const shown = JSON.stringify(Buffer.from(had, 'latin1').toString());
    throw new AppError('bad-config', `${where}: options ${shown}: systemd cannot read them`, {
      hint: 'a backslash stands before a comma or another backslash only',
    });
  }
  const field = withOptions(without === undefined ? had : withoutOptions(had, without), options);
  return `${head}${keyGap}${keyFile}${field === '' ? '' : optionGap + field}${rest}`;
}

function withoutOptions(field = '', without: RegExp): string {
  const all = field.match(OPTION) ?? [];
  const kept = all.filter((option) => !without.test(option));
  // An empty field would let what follows take its place.
  return kept.length === all.length ? field : kept.join(',') || 'luks';
}

function withOptions(field: string | undefined, wanted: readonly string[]): string {
  const has = field === undefined || field === '-' || field === 'none' ? '' : field;
  const missing = wanted.filter((option) => !has.split(',').includes(option));
  if (missing.length === 0) return field ?? '';
  return [...(has === '' ? [] : [has]), ...missing].join(',');
}

function added(lines: readonly Line[], wanted: WantedLine, path: string): CrypttabEdit {
  const { volume, device, keyFile, options } = wanted;
  const carriage = lines.at(-1)?.text.endsWith('\r') ? '\r' : '';
  const after = asBytes([volume, device, keyFile, options.join(',')].join(' ').trimEnd()) + carriage;
  const whole = lines.map(({ text }): Line => ({ text, end: '\n' }));
  const edited = [...whole, { text: after, end: '\n' }];
  return { bytes: joined(edited), before: null, after, diff: diff(path, lines, edited) };
}

/** One hunk for what differs, which is one line, and the one before it when that had no end. */
function diff(path: string, before: readonly Line[], after: readonly Line[]): string {
  const same = (index: number) =>
    before[index]?.text === after[index]?.text && before[index]?.end === after[index]?.end;
  const first = after.findIndex((_, index) => !same(index));
  const isAdded = after.length > before.length;
  const gone = before.slice(first, isAdded ? undefined : first + 1);
  const come = after.slice(first, isAdded ? undefined : first + 1);
  const show = (sign: string, { text, end }: Line) =>
    `${sign}${Buffer.from(text, 'latin1').toString()}\n${end === '' ? '\\ No newline at end of file\n' : ''}`;
  // POSIX diff -U: an empty range is named by the line before it.
  const range = (count: number) => `${count === 0 ? first : first + 1}${count === 1 ? '' : `,${count}`}`;
  return [
    `--- ${path}\n+++ ${path}\n@@ -${range(gone.length)} +${range(come.length)} @@\n`,
    ...gone.map((line) => show('-', line)),
    ...come.map((line) => show('+', line)),
  ].join('');
}
