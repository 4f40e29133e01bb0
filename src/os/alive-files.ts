import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { AppError } from '../base/errors.ts';

/** Where the handler leaves what the keep-alive daemon needs, and that what the acting unit does: gone with this boot. */
const RUN = '/run/fetch-luks-key';
/** Where the acting unit leaves how it ended; the daemon cannot write there. */
const ACTED = '/run/fetch-luks-key-act';

/** @throws AppError `unavailable` */
export function leaveProof(serverPin: Buffer, kid: string, proof: Buffer): void {
  const text = JSON.stringify({ kid, proof: proof.toString('base64url') });
  leave('alive', serverPin.toString('base64url'), text);
}

/** @returns null when there is none */
export async function leftProof(
  serverPins: readonly Buffer[],
): Promise<{ kid: string; proof: string } | null> {
  for (const pin of serverPins) {
    const proof = proofIn(`${RUN}/alive/${pin.toString('base64url')}`);
    if (proof !== null) return proof;
  }
  return null;
}

function proofIn(path: string): { kid: string; proof: string } | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return null;
    throw new AppError('unavailable', `${RUN}/alive: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

/** Of no consequence to anybody who only wants to know: a failure is none. */
export function keptAlive(serverPin: Buffer): void {
  try {
    leave('act', keptAliveName(serverPin), '');
  } catch {
    // Nobody can be told when it was, then.
  }
}

/** In the folder that the daemon may write to; whoever acts looks for the names of verdicts alone. */
function keptAliveName(serverPin: Buffer): string {
  return `kept-alive-${serverPin.toString('base64url')}`;
}

/** Unix time; null: no keep-alive has counted in this boot. */
export async function lastKeptAliveMs(serverPins: readonly Buffer[]): Promise<number | null> {
  const times = serverPins.map((pin) => {
    const path = `${RUN}/act/${keptAliveName(pin)}`;
    return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.NEGATIVE_INFINITY;
  });
  const last = Math.max(...times);
  return Number.isFinite(last) ? Math.floor(last) : null;
}

/** Starts fetch-luks-key-act@VERDICT.service, by its path unit. @throws AppError `unavailable` */
export function order(verdict: string): void {
  leave('act', verdict, '');
}

/** What became of the last order, as fetch-luks-key-act@VERDICT.service shows it. */
export function outcome(verdict: string): 'not begun' | 'under way' | 'done' | 'failed' {
  if (existsSync(`${RUN}/act/${verdict}`)) return 'not begun';
  try {
    // $SERVICE_RESULT, $EXIT_CODE and $EXIT_STATUS (systemd.exec(5)).
    const text = readFileSync(`${ACTED}/${verdict}.result`, 'utf8');
    return text.trim() === 'success exited 0' ? 'done' : 'failed';
  } catch {
    return 'under way';
  }
}

function leave(folder: string, name: string, text: string): void {
  const path = `${RUN}/${folder}/${name}`;
  try {
    mkdirSync(`${RUN}/${folder}`, { recursive: true, mode: 0o700 });
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch (cause) {
    throw new AppError('unavailable', `${path}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}
