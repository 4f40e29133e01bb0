import { limits } from '../base/limits.ts';
import type { Runner } from '../base/ports.ts';

export interface Opened {
  /** Unix time. */
  readonly atMs: number;
  readonly tookMs: number;
  /** The pins that answered. */
  readonly by: string;
}

/** What the journal has last of a volume; the handler writes one line for each request (src/handler/handle.ts). */
export async function lastOpened(
  volume: string,
  runner: Runner,
  signal: AbortSignal,
): Promise<Opened | null> {
  const args = ['--identifier=fetch-luks-key', '--output=json', '--output-fields=MESSAGE', '--reverse'];
  const options = { timeoutMs: limits.actionTimeoutMs, maxOutputBytes: limits.unitGraphBytes, signal };
  const journal = ['--no-pager', '--quiet', `--lines=${limits.journalLines}`];
  try {
    const { stdout } = await runner.run('/usr/bin/journalctl', [...args, ...journal], options);
    for (const line of stdout.toString().split('\n')) {
      const opened = openedIn(line, volume);
      if (opened !== null) return opened;
    }
  } catch {
    if (signal.aborted) throw signal.reason;
    // Without a journal nothing is known.
  }
  return null;
}

function openedIn(line: string, volume: string): Opened | null {
  if (!line.startsWith('{')) return null;
  const { MESSAGE: message, __REALTIME_TIMESTAMP: microseconds } = JSON.parse(line) as Record<
    string,
    unknown
  >;
  const start = `${volume}: key delivered, opened by `;
  if (typeof message !== 'string' || !message.startsWith(start)) return null;
  const [, by = '', ms] = /^(.*?) in (\d+) ms(?:, without .*)?$/.exec(message.slice(start.length)) ?? [];
  return ms === undefined ? null : { atMs: Math.floor(Number(microseconds) / 1000), tookMs: Number(ms), by };
}
