/** What a guest sent over its second serial port, as machine-guest/report frames it. */

export interface Report {
  readonly status: number | null;
  readonly output: string;
  readonly journal: string;
  readonly hung: string | null;
  readonly failedUnits: readonly string[];
}

/** @returns null when it breaks off: the guest crashed, or its time was over */
export function readReport(text: string): Report | null {
  const sections = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of text.replaceAll('\r', '').split('\n')) {
    const [, mark = ''] = /^== (output|failed-units|hung|status \d+|journal|end|failed .*)$/.exec(line) ?? [];
    if (mark === '') {
      lines.push(line);
    } else {
      lines = [];
      sections.set(mark, lines);
    }
  }
  if (!sections.has('end')) return null;
  const status = [...sections.keys()].find((mark) => mark.startsWith('status '));
  return {
    status: status === undefined ? null : Number(status.slice('status '.length)),
    output: sections.get('output')?.join('\n').trimEnd() ?? '',
    journal: sections.get('journal')?.join('\n') ?? '',
    hung: sections.get('hung')?.join('\n') ?? null,
    failedUnits: sections.get('failed-units')?.filter((unit) => unit !== '') ?? [],
  };
}

/** What the guest's own preparation could not do; null when all went well. */
export function preparationFault(text: string): string | null {
  return /^== (failed .*)$/m.exec(text)?.[1] ?? null;
}
