import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { limits } from '../../src/base/limits.ts';
import { lockFolder } from '../../src/os/locks.ts';
import { lockName } from '../../src/tpm/sequence.ts';
import { type Activated, type Answer, activate } from './activation.ts';

/** A handler behind a real socket, with folder and crypttab of its own. */
export interface Stage extends Activated {
  readonly etc: string;
  readonly crypttab: string;
  /** Leaves a volume's sealed key where the handler looks for it first. */
  put(volume: string, jwe: string | Uint8Array): void;
  /** Writes config.yaml. @param content YAML; of an object its JSON, which is YAML too; null = none */
  configure(content: string | object | null): void;
  /** Asks, waits for the handler's end, and compares. @param asked a volume's name, or the address to bind */
  shows(t: Test, title: string, asked: string | Buffer, outcome: Outcome): Promise<void>;
}

/** What one request must come to. */
export interface Outcome {
  readonly status: 0 | 2 | 3 | 4 | 5 | 6;
  /** Matches the one journal line behind its priority. */
  readonly line: RegExp;
  /** What the client gets: `random` unless said. */
  readonly gets?: 'random' | 'over-long' | 'nothing' | Uint8Array;
}

/** @param options as `activate` takes them */
export async function setStage(t: Test, options: Parameters<typeof activate>[1] = {}): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'stage-'));
  const etc = `${folder}/etc`;
  mkdirSync(`${etc}/volumes`, { recursive: true });
  const crypttab = `${folder}/crypttab`;
  const activated = await activate(['--etc', etc, '--crypttab', crypttab], options);
  const tcti = options.environment?.TPM2TOOLS_TCTI;
  t.teardown(async () => {
    await activated.stop();
    rmSync(folder, { recursive: true });
    // Where handlers of root wait for each other: it would stay until the next reboot.
    if (tcti !== undefined) rmSync(`${lockFolder(0, {})}/${lockName(tcti)}.lock`, { force: true });
  });
  return {
    ...activated,
    etc,
    crypttab,
    put(volume, jwe) {
      writeFileSync(`${etc}/volumes/${volume}.jwe`, jwe);
    },
    configure(content) {
      const path = `${etc}/config.yaml`;
      if (content === null) rmSync(path, { force: true });
      else writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    },
    async shows(t, title, asked, outcome) {
      comesTo(t, title, await activated.askAlone(asked), outcome);
    },
  };
}

/** Exit status, one journal line of the status' priority, and what came on the socket. */
export function comesTo(t: Test, title: string, { bytes, status, lines }: Answer, outcome: Outcome): void {
  const { gets = 'random' } = outcome;
  const priority = outcome.status === 0 ? 6 : outcome.status === 4 ? 4 : 3;
  t.equal(status, outcome.status, `${title}: exit status`);
  t.equal(lines.length, 1, `${title}: one journal line`, { lines });
  t.match(lines[0], new RegExp(`^<${priority}>`), `${title}: its priority`);
  t.match(lines[0]?.slice('<N>'.length), outcome.line, `${title}: what the line says`);
  if (gets === 'random') t.equal(refusal(bytes), 'fresh random bytes', `${title}: on the socket`);
  else t.equal(sum(bytes), sum(expectedBytes(gets)), `${title}: on the socket`);
}

const earlier = new Set<string>();

/** Bytes that were never seen before: a refusal that repeats itself could be enrolled as a passphrase. */
function refusal(bytes: Uint8Array): string {
  if (bytes.length !== limits.volumeRefusalBytes) return `${bytes.length} bytes`;
  const text = Buffer.from(bytes).toString('hex');
  if (earlier.has(text)) return 'bytes that an earlier client got';
  earlier.add(text);
  return 'fresh random bytes';
}

function expectedBytes(gets: 'over-long' | 'nothing' | Uint8Array): Uint8Array {
  if (gets === 'nothing') return new Uint8Array(0);
  return gets === 'over-long' ? new Uint8Array(1024 * 1024 + 1) : gets;
}

/** A megabyte is no fit text for a failed comparison. */
function sum(bytes: Uint8Array): string {
  const shown = Buffer.from(bytes).toString('latin1');
  if (bytes.length < 256) return JSON.stringify(shown);
  return `${bytes.length} bytes, ${bytes.some((byte) => byte !== 0) ? 'not all zeros' : 'all zeros'}`;
}
