import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const PAGE = resolve(import.meta.dirname, '../../docs/RECOVERY.md');

/**
 * Commands as docs/RECOVERY.md gives them, so that what is tried is what it says.
 * @param heading that they are under
 * @param about a command of the block
 * @param put what stands where the page has a word for it, such as `DEVICE`; each has to be there
 * @returns the whole block
 */
export function documented(
  heading: string,
  about: string,
  put: Readonly<Record<string, string>> = {},
): string {
  const step = `${PAGE}: ${heading}: commands with ${about}`;
  const section = readFileSync(PAGE, 'utf8')
    .split(/^#+ /m)
    .find((text) => text.startsWith(`${heading}\n`));
  const blocks = [...(section ?? '').matchAll(/^```sh\n(.*?)\n```$/gms)].map(([, block = '']) => block);
  const wanted = blocks.filter((block) => block.includes(about));
  let [found] = wanted;
  if (found === undefined || wanted.length > 1)
    throw new Error(`${step}: expected one block, got ${wanted.length}`);
  for (const [word, value] of Object.entries(put)) {
    const all = new RegExp(`(?<![\\w-])${word}(?![\\w-])`, 'g');
    if (found.search(all) < 0) throw new Error(`${step}: expected ${word}, got ${found}`);
    found = found.replaceAll(all, () => value);
  }
  return found;
}
