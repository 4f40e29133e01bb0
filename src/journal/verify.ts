import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files, Runner } from '../base/ports.ts';
import { Secret } from '../base/secret.ts';
import { readFileHeader } from './file-header.ts';
import { JOURNALCTL, lastLine } from './keys.ts';
import type { JournalPlaces } from './place.ts';

/** What became of one journal file. */
export interface Verdict {
  readonly path: string;
  readonly isSealed: boolean;
  /** Its last entries are, too. */
  readonly isSealedToEnd: boolean;
  /** Unix time, by its own header; 0 = it has none. */
  readonly lastEntryMs: number;
  /** null = it is as journald wrote it, or from before there were keys. */
  readonly problem: string | null;
}

interface Ports {
  readonly runner: Runner;
  readonly files: Files;
}

/**
 * Has journalctl verify all of the machine's files, and looks at what it passes over: a file without seals, or without
 * its last ones, is intact for it, whoever wrote it.
 * @param key what `keyIdOf` takes
 * @throws AppError `unavailable`, `tool-missing`, `stopped`
 */
export async function verifyJournal(
  key: Secret,
  sinceMs: number,
  { folder }: JournalPlaces,
  { runner, files }: Ports,
  signal: AbortSignal,
): Promise<Verdict[]> {
  using option = Secret.takeFrom(Buffer.concat([Buffer.from('--verify-key='), key.reveal()]));
  const { status, stderr } = await runner.run(
    JOURNALCTL,
    ['--verify', '--no-pager', `--directory=${folder}`],
    {
      hiddenArgument: option,
      environment: { SYSTEMD_LOG_TARGET: 'console', SYSTEMD_LOG_COLOR: '0' },
      timeoutMs: limits.journalVerifyMs,
      maxOutputBytes: limits.journalVerifyBytes,
      signal,
    },
  );
  const found = parseVerdicts(stderr);
  if (found.length === 0 || (status !== 0 && found.every(({ problem }) => problem === null))) {
    throw new AppError('unavailable', `${JOURNALCTL}: ${lastLine(stderr) || 'it names no journal file'}`);
  }
  const intervalMs = intervalMsOf(key);
  return await Promise.all(found.map((one) => judged(one, sinceMs, intervalMs, files)));
}

/** Its last part: µs in hexadecimal. */
function intervalMsOf(key: Secret): number {
  const text = key.reveal().toString('latin1');
  return Number.parseInt(text.slice(text.lastIndexOf('-') + 1), 16) / 1000;
}

interface Found {
  readonly path: string;
  readonly problem: string | null;
  /** From its last seal's interval to its last entry: from that interval's start in systemd 252, its end in 257. */
  readonly unsealedMs: number | null;
}

/** Lines of `journalctl --verify`, as systemd 252 to 262 have them; what is wrong comes before the file that it is about. */
function parseVerdicts(text: string): Found[] {
  const found: Found[] = [];
  let detail: string | null = null;
  for (const line of text.split('\n')) {
    // The reason in parentheses; in 262 behind a colon.
    const [, outcome, path = '', reason] =
      /^(PASS|FAIL): (\/.*\.journal~?)(?:: | \()?(.*?)\)?$/.exec(line) ?? [];
    const [, span] = /^=> .*, (?:final )?(.+?) (?:of )?entries not sealed\.$/.exec(line) ?? [];
    const last = found.at(-1);
    if (outcome !== undefined) {
      const problem = outcome === 'PASS' ? null : [detail, reason].filter(Boolean).join(': ');
      found.push({ path, unsealedMs: null, problem });
      detail = null;
    } else if (line.startsWith('=> ') && last !== undefined) {
      found[found.length - 1] = { ...last, unsealedMs: span === undefined ? 0 : spanMs(span) };
    } else detail = /^(?:0x)?[0-9a-f]+: (.+)$/.exec(line)?.[1] ?? detail;
  }
  return found;
}

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
};

/** `2h 3min 4.5s` (systemd.time(7)); what has a unit longer than these is too long for us. */
function spanMs(text: string): number {
  if (text === '0') return 0;
  return text.split(' ').reduce((sum, part) => {
    const [, count = '', unit = ''] = /^([0-9.]+)([a-z]+)$/.exec(part) ?? [];
    return sum + Number(count) * (MS_PER_UNIT[unit] ?? Number.POSITIVE_INFINITY);
  }, 0);
}

/** What journalctl passes over: a file that is not sealed, or not to where journald seals it. */
async function judged(
  { path, unsealedMs, problem }: Found,
  sinceMs: number,
  intervalMs: number,
  files: Files,
): Promise<Verdict> {
  const header = await readFileHeader(path, files);
  const { isSealed = false, lastEntryMs = 0, endsInSeal = false, isContinuous = false } = header ?? {};
  const about = { path, isSealed, lastEntryMs, isSealedToEnd: isSealed && endsInSeal };
  if (problem !== null) return { ...about, problem };
  if (!isSealed) {
    const isOld = lastEntryMs < sinceMs;
    return { ...about, problem: isOld ? null : 'not sealed, though journald seals what it writes' };
  }
  // An interval is sealed before the first entry of another one is written.
  const isWhole = endsInSeal || (!(isClosed(path) && isContinuous) && (unsealedMs ?? 0) <= 2 * intervalMs);
  return { ...about, problem: isWhole ? null : 'its last seals are missing' };
}

/** In good order: what was open when the machine crashed ends in `.journal~`. */
function isClosed(path: string): boolean {
  return /@[^/]*\.journal$/.test(path);
}
