import { readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { type Ended, fetchLuksKey } from './command-line.ts';
import { type Journald, startJournald } from './journald.ts';

/** A machine with a journald of its own, on which `fetch-luks-key` runs. */
export interface JournalMachine extends Journald {
  readonly etc: string;
  /** Of the sealed verification key. */
  readonly path: string;
  run(command: string, ...args: string[]): Promise<Ended>;
  /** `journal ARGS --json`, and its exit status. */
  // biome-ignore lint/suspicious/noExplicitAny: what it is, is what the tests are about
  json(...args: string[]): Promise<any>;
  /** An entry that is sealed: its interval of a second is over, and another entry there. */
  logSealed(message: string): Promise<void>;
  /** Has journald begin a new file. @returns the one that it has closed */
  nextFile(): Promise<string>;
  /** Files that it has closed. */
  closed(): string[];
}

/** @param settings of journald.conf(5) */
export async function journalMachine(t: Test, settings?: string): Promise<JournalMachine> {
  const journald = await startJournald(t, settings);
  const etc = `${t.testdir()}/etc`;
  const run = (command: string, ...args: string[]) =>
    fetchLuksKey([command, ...args, '--etc', etc], '', {}, journald.wrapper);
  const closed = () =>
    readdirSync(journald.folder)
      .filter((name) => name.includes('@'))
      .map((name) => `${journald.folder}/${name}`);
  return {
    ...journald,
    etc,
    path: `${etc}/journal/verification-key.jwe`,
    run,
    closed,
    async json(...args) {
      const { status, stdout } = await run('journal', ...args, '--json');
      return { status, ...JSON.parse(stdout) };
    },
    async logSealed(message) {
      await journald.log(message);
      await pause(1200);
      await journald.log('the next');
    },
    async nextFile() {
      const before = closed();
      await journald.journalctl('--rotate');
      return closed().find((path) => !before.includes(path)) ?? '';
    },
  };
}

/** One whose journal is sealed. @param pin its name and configuration */
export async function sealedMachine(
  t: Test,
  pin: readonly string[],
): Promise<JournalMachine & { readonly keyId: string }> {
  const machine = await journalMachine(t);
  await machine.log('from before');
  const { status, stdout, stderr } = await machine.run('journal', 'setup', ...pin, '--interval', '1s');
  t.equal(status, 0, stderr);
  return { ...machine, keyId: stdout.trim() };
}

export const problems = (files: readonly { readonly problem: string | null }[]) =>
  files.flatMap(({ problem }) => problem ?? []);
