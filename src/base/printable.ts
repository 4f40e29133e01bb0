/** A stranger's text, fit for one line of the journal: printable ASCII, at most 100 characters. */
export function printable(text: string): string {
  const line = text.replace(/[^ -~]+/g, ' ');
  return line.length > 100 ? `${line.slice(0, 100)}…` : line;
}
