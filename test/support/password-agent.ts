import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const FOLDER = '/run/systemd/ask-password';

/**
 * Answers the next question with this id, as an agent does (systemd.io/PASSWORD_AGENTS).
 * @returns the question
 */
export async function answerNext(id: string, answer: string): Promise<string> {
  for (;;) {
    const question = questions().find((one) => one['Id'] === id);
    if (question !== undefined) {
      // Its socket goes with it: the next question has another one.
      const socket = question['Socket'] ?? '';
      spawnSync('/lib/systemd/systemd-reply-password', ['1', socket], { input: answer });
      while (existsSync(socket)) await pause(20);
      return question['Message'] ?? '';
    }
    await pause(50);
  }
}

/** Those with this id that are open now. */
export function openQuestions(id: string): number {
  return questions().filter((one) => one['Id'] === id).length;
}

function questions(): Record<string, string>[] {
  if (!existsSync(FOLDER)) return [];
  return readdirSync(FOLDER)
    .filter((name) => name.startsWith('ask.'))
    .flatMap((name) => {
      try {
        const lines = readFileSync(`${FOLDER}/${name}`, 'utf8').split('\n');
        return [Object.fromEntries(lines.map((line) => line.split(/=(.*)/, 2)))];
      } catch {
        // Answered in between.
        return [];
      }
    });
}
