import t from 'tap';
import { limits } from '../../src/base/limits.ts';
import { eventData, eventText } from '../../src/wire/event-stream.ts';

async function* pieces(...texts: (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

async function all(...texts: (string | Buffer)[]): Promise<string[]> {
  const found: string[] = [];
  for await (const data of eventData(pieces(...texts))) found.push(data);
  return found;
}

t.test('there and back, however it is cut into pieces', async (t) => {
  const values = [{ status: 'armed' }, { text: 'a\n\nb: ü' }, null];
  const whole = Buffer.from(values.map((value) => `:\n\n${eventText(value)}`).join(''));
  for (const size of [1, 2, 7, whole.length]) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < whole.length; at += size) chunks.push(whole.subarray(at, at + size));
    t.same(
      (await all(...chunks)).map((data) => JSON.parse(data)),
      values,
      `${size} bytes`,
    );
  }
});

t.test('what the server said last, and did not finish, is nothing', async (t) => {
  t.same(await all('data: 1\n\ndata: 2'), ['1']);
});

t.test('anything else is no stream of ours', async (t) => {
  for (const [title, text] of [
    ['another field', 'event: x\ndata: 1\n\n'],
    ['HTML', '<html></html>\n\n'],
    ['no text', Buffer.from([0xff, 0xfe])],
    ['one without end', 'x'.repeat(limits.serverAnswerBytes + 1)],
  ] as const) {
    await t.rejects(all(text), { code: 'unavailable' }, title);
  }
});
