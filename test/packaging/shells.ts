import { resolve } from 'node:path';

export const completion = resolve(import.meta.dirname, '../../packaging/completion');

/** What a shell offers at the end of a command line, the last word of which is begun. */
export type Offers = (...words: string[]) => string[];

/** @param run runs a program and gives its lines */
export function shellsFor(
  program: string,
  run: (...command: string[]) => string[],
): Readonly<Record<string, Offers>> {
  const name = program.replaceAll('-', '_');
  const bash = `source "$1"; shift
COMP_WORDS=(${program} "$@"); COMP_CWORD=$#
_${name}; [ "\${#COMPREPLY[@]}" = 0 ] || printf '%s\\n' "\${COMPREPLY[@]}"`;
  return {
    bash: (...words) => run('bash', '-c', bash, 'bash', `${completion}/${program}.bash`, ...words),
    fish: (...words) => {
      const line = `source ${completion}/${program}.fish; complete -C '${program} ${words.join(' ')}'`;
      const offers = run('fish', '--no-config', '-c', line);
      return offers.map((offer) => offer.split('\t')[0] ?? '');
    },
    zsh: (...words) => {
      const script = `${import.meta.dirname}/zsh-offers.zsh`;
      return run('zsh', '-f', script, completion, `${program} ${words.join(' ')}`);
    },
  };
}
