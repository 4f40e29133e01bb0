import t from 'tap';
import { digestOf, emptyChain, type Head, type Link, linkTo } from '../../../src/server/audit/chain.ts';
import { isExtension } from '../../../src/server/audit/extension.ts';

function logOf(texts: readonly string[]): Link[] {
  const links: Link[] = [];
  for (const text of texts) links.push(linkTo(links.at(-1) ?? emptyChain, text));
  return links;
}

const count = 20;
const texts = Array.from({ length: count }, (_, index) => `record ${index}`);
const log = logOf(texts);
const headAt = (links: readonly Link[], seq: number): Head => links[seq - 1] ?? emptyChain;
const pages = (links: readonly Link[], size: number) => async (after: number) =>
  links.slice(after, after + size).map(({ text }) => digestOf(text));

t.test('every later head extends every earlier one, and none the other way round', async (t) => {
  for (let earlier = 0; earlier <= count; earlier++) {
    for (let later = 0; later <= count; later++) {
      const [from, to] = [headAt(log, earlier), headAt(log, later)];
      t.equal(await isExtension(to, from, pages(log, 3)), later >= earlier, `${earlier} to ${later}`);
    }
  }
});

t.test('a log that was rewritten and has grown on', async (t) => {
  for (let changed = 1; changed <= count; changed++) {
    const other = logOf(texts.map((text, index) => (index + 1 === changed ? 'another' : text)));
    for (let seen = 1; seen < count; seen++) {
      // Whichever of the two logs it shows.
      for (const shown of [other, log]) {
        const isSame = await isExtension(headAt(other, count), headAt(log, seen), pages(shown, 4));
        t.equal(isSame, seen < changed && shown === other, `record ${changed}, seen ${seen}`);
      }
    }
  }
});

t.test('a server that does not show what is between', async (t) => {
  const [from, to] = [headAt(log, 2), headAt(log, 9)];
  t.equal(await isExtension(to, from, async () => []), false);
  t.equal(await isExtension(to, from, pages(log.slice(0, 7), 3)), false, 'not all of it');
  t.equal(await isExtension(to, from, pages(log, 100)), true, 'or more than that');
  const refused = new Error('refused');
  await t.rejects(
    isExtension(to, from, () => Promise.reject(refused)),
    refused,
  );
});
