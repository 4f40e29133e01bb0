import { createReadStream, createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { AppError } from '../base/errors.ts';

/**
 * Asks the person at the controlling terminal, which standard input need not be: that carries the secret.
 * @throws AppError `refused` when there is no terminal, or the answer is not yes
 */
export async function confirm(lines: readonly string[], question: string): Promise<void> {
  const terminal = await open('/dev/tty', 'r+').catch((cause: unknown) => {
    throw new AppError('refused', `${lines.join(' ')}: nobody to ask, there is no terminal`, {
      cause,
      hint: 'give "thp" or "adv" in the configuration, or -y to trust whatever is there',
    });
  });
  try {
    const input = createReadStream('', { fd: terminal.fd, autoClose: false });
    const output = createWriteStream('', { fd: terminal.fd, autoClose: false });
    const dialogue = createInterface({ input, output });
    const answer = await dialogue.question(`${lines.join('\n')}\n${question} [yN] `);
    dialogue.close();
    input.destroy();
    if (!/^y(es)?$/i.test(answer.trim())) throw new AppError('refused', 'the answer was no');
  } finally {
    await terminal.close();
  }
}
