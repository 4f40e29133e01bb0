import { limits } from '../base/limits.ts';

/** A command of the script, as an argument vector; with `volume` only while that one is open. */
export interface Step {
  readonly argv: readonly string[];
  readonly volume?: string;
}

/** What `cryptsetup luksSuspend` ends with when it has nothing to do: locked before it was revoked, say. */
export const DONE_BEFORE = 'already suspended.';

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
export LC_ALL=C
failed=0
done_or_told() {
  said=$(timeout -k 1 ${seconds} "$@" 2>&1 >/dev/null </dev/null) && { echo "<6>$*: done"; return; }
  status=$?
  case $said in
    *'${DONE_BEFORE}') echo "<6>$*: done before" ;;
    *) failed=5; echo "<3>$*: exit status $status: \${said##*
}" ;;
  esac
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
