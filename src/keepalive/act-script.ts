import { limits } from '../base/limits.ts';

/** A command of the script, as an argument vector; with `volume` only while that one is open. */
export interface Step {
  readonly argv: readonly string[];
  readonly volume?: string;
}

/**
 * The commands as a script of sh(1), which begins to work 20 times sooner than this program: what is to be suspended
 * is open until then. It goes on after a failure, and ends with 5 after one.
 * @param instead argument vector of what is run when one of `sources` has changed since the script was written
 */
export function actScript(
  steps: readonly Step[],
  sources: readonly string[],
  instead: readonly string[],
): string {
  const seconds = limits.actionTimeoutMs / 1000;
  return `#!/bin/sh
for source in ${words(sources)}; do
  [ ! -e "$source" ] || [ "$0" -nt "$source" ] || exec ${words(instead)}
done
failed=0
done_or_told() {
  if said=$(timeout -k 1 ${seconds} "$@" 2>&1 >/dev/null </dev/null); then echo "<6>$*: done"
  else echo "<3>$*: exit status $?: \${said##*
}"; failed=5
  fi
}
${steps.map(line).join('')}exit $failed
`;
}

function line({ argv, volume }: Step): string {
  const command = `done_or_told ${words(argv)}\n`;
  return volume === undefined ? command : `[ ! -e ${words([`/dev/mapper/${volume}`])} ] || ${command}`;
}

/** Each one word for the shell, whatever is in it. */
function words(argv: readonly string[]): string {
  return argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
}
