import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';

/** One server-sent event whose data is `value` (HTML §9.2.5): JSON has no line feed in it. */
export function eventText(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/**
 * The data of each event, as `eventText` writes them; comments are passed over.
 * @throws AppError `unavailable`: something else, or an event that does not end
 */
export async function* eventData(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  for await (const chunk of chunks) {
    text += decoded(decoder, chunk);
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    if (text.length > limits.serverAnswerBytes) throw malformed('an event that does not end');
    for (const event of events) {
      if (event.startsWith('data: ')) yield event.slice('data: '.length);
      else if (!event.startsWith(':')) throw malformed('something that is no event');
    }
  }
}

function decoded(decoder: TextDecoder, chunk: Buffer): string {
  try {
    return decoder.decode(chunk, { stream: true });
  } catch (cause) {
    throw malformed('something that is no text', cause);
  }
}

function malformed(what: string, cause?: unknown): AppError {
  return new AppError('unavailable', `the server sent ${what}`, { cause });
}
