import { AppError } from '../../base/errors.ts';
import type { DurableFiles } from '../../base/ports.ts';

/**
 * Who was revoked, in a file outside the database, so that a database that was restored, or a replica that lagged
 * behind, cannot take a revocation back. One line of JSON each: `{"machine":"ID","name":"NAME"}`.
 */
export class Tombstones {
  readonly #path: string;
  readonly #files: DurableFiles;
  readonly #machines: Set<string>;

  /** @throws AppError `damaged` when a line is none of ours; `unavailable` */
  constructor(path: string, files: DurableFiles) {
    this.#path = path;
    this.#files = files;
    this.#machines = new Set(files.lines(path).map((line, index) => machineIn(line, `${path}:${index + 1}`)));
  }

  /** Ids. */
  get machines(): ReadonlySet<string> {
    return this.#machines;
  }

  /** On the disk when it returns. @throws AppError `unavailable` */
  add(machines: readonly { readonly id: string; readonly name: string }[]): void {
    const added = machines.filter(({ id }) => !this.#machines.has(id));
    if (added.length === 0) return;
    this.#files.append(
      this.#path,
      added.map(({ id, name }) => JSON.stringify({ machine: id, name })),
    );
    for (const { id } of added) this.#machines.add(id);
  }
}

function machineIn(line: string, where: string): string {
  try {
    const { machine } = JSON.parse(line) as { machine?: unknown };
    if (typeof machine === 'string') return machine;
  } catch {
    // Said below.
  }
  throw new AppError('damaged', `${where}: expected {"machine":…,"name":…}, got something else`, {
    hint: 'put the line right by hand: without it a revoked machine could come back',
  });
}
