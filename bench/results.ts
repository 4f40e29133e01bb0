import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PAGE = join(import.meta.dirname, 'RESULTS.md');

/**
 * Puts one script's part into bench/RESULTS.md, in place of the one that it wrote before; the others stay.
 * @param text begins with its heading, `# …`, by which it is known
 */
export function writePart(text: string): void {
  const [heading = ''] = text.split('\n');
  const page = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : '';
  const parts = page.split(/^(?=# )/m).filter((part) => part !== '');
  const at = parts.findIndex((part) => part.startsWith(`${heading}\n`));
  const part = `${text.trimEnd()}\n`;
  if (at === -1) parts.push(part);
  else parts[at] = part;
  writeFileSync(PAGE, `${parts.map((one) => one.trimEnd()).join('\n\n')}\n`);
}
