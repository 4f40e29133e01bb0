import { type Document, isMap, isPair, isScalar, isSeq, type LineCounter, visit, type YAMLError } from 'yaml';

/** Keys and places in lists, from the top. */
export type Path = readonly (string | number)[];

/** Where a field's key, or a list's item, begins; what is behind an alias is where the alias is. */
export function offsetOf(doc: Document.Parsed, at: Path): number {
  let node: unknown = doc.contents;
  let offset = doc.contents?.range[0] ?? 0;
  for (const step of at) {
    let begin: unknown;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
      begin = pair?.key;
      node = pair?.value;
    } else {
      begin = node = isSeq(node) && typeof step === 'number' ? node.items[step] : undefined;
    }
    if (isScalar(begin) || isMap(begin) || isSeq(begin)) offset = begin.range?.[0] ?? offset;
  }
  return offset;
}

/** `volumes.data.allow[1]: `; nothing for the file as a whole. */
export function dotted(at: Path): string {
  const plain = (step: string | number) => typeof step === 'string' && /^[\w-]+$/.test(step);
  const text = at.map((step) => (plain(step) ? `.${step}` : `[${JSON.stringify(step)}]`)).join('');
  return text === '' ? '' : `${text.replace(/^\./, '')}: `;
}

/** @returns its line, and what is wrong there */
export function syntaxProblem(
  fault: YAMLError,
  doc: Document.Parsed,
  text: string,
  lines: LineCounter,
): { readonly line: number; readonly message: string } {
  const [offset] = fault.pos;
  const { line, col } = lines.linePos(offset);
  if (fault.code === 'DUPLICATE_KEY') {
    return { line, message: `${dotted(pathOfKey(doc, offset))}expected this key once, got it again` };
  }
  const reason = fault.message.replace(/^[A-Z]/, (first) => first.toLowerCase()).replaceAll(/\s+/g, ' ');
  const near = text.slice(offset).split('\n', 1)[0] ?? '';
  return { line, message: `column ${col}: expected YAML, got ${shown(near)}: ${reason}` };
}

function pathOfKey(doc: Document.Parsed, offset: number): string[] {
  let found: string[] = [];
  visit(doc, {
    Pair(_, pair, ancestors) {
      if (!isScalar(pair.key) || pair.key.range?.[0] !== offset) return undefined;
      found = [...ancestors.filter(isPair), pair].map(({ key }) => String(isScalar(key) ? key.value : key));
      return visit.BREAK;
    },
  });
  return found;
}

/** A value for one line of a journal: cut, and an URL without what may be a secret in it. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'object') return Array.isArray(value) ? 'a list' : 'a map';
  if (typeof value !== 'string') return String(value);
  const plain = value.includes('://') ? value.replace(/\/\/[^/]*@/, '//…@').replace(/\?.*/s, '?…') : value;
  return JSON.stringify(plain.length > 60 ? `${plain.slice(0, 60)}…` : plain);
}
