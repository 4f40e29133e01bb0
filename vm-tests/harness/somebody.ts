import type { GuestFile } from './guest.ts';

/** Who sits at the machine. */

/** The unit that answers the boot's prompt; it is to be enabled. */
export const SOMEBODY = 'somebody.service';

/**
 * Sees each prompt, and types.
 * @param answers one after the other; without a quote
 * @param whose line of the question's file, a regular expression; default: a volume's passphrase
 */
export function somebody(
  answers: readonly string[],
  whose = '^Id=cryptsetup:',
): Readonly<Record<string, GuestFile>> {
  return {
    [`/etc/systemd/system/${SOMEBODY}`]: {
      content: `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -eu /etc/somebody
[Install]
WantedBy=sysinit.target
`,
    },
    '/etc/somebody': {
      content: `answer() {
  until prompt=$(grep -ls '${whose}' /run/systemd/ask-password/ask.*); do sleep 0.5; done
  sed -n 's/^Message=/prompt: /p' "$prompt"
  printf %s "$1" | /lib/systemd/systemd-reply-password 1 "$(sed -n 's/^Socket=//p' "$prompt")"
  while [ -e "$prompt" ]; do sleep 0.1; done
}
${answers.map((one) => `answer '${one}'\n`).join('')}`,
    },
  };
}

/** What is shown to them at the prompt, in the journal. @param volume a regular expression */
export const prompted = (volume: string) => new RegExp(`\\]: prompt: .*${volume}`);

const SHOWN = '/run/terminal';
/** Commands may go on for so long when all has been typed. */
const SECONDS = 400;

/**
 * Shell lines that run commands at a terminal, where somebody answers what they ask; the first that fails ends them.
 * @param answers each after the words of its prompt, in the order of asking
 */
export function atTerminal(
  commands: string,
  answers: readonly (readonly [prompt: string, answer: string])[],
): string {
  // A prompt is there a moment before what was typed so far is thrown away.
  const typing = answers.map(
    ([prompt, answer]) =>
      `until grep -q '${prompt}' ${SHOWN}; do sleep 0.2; done; sleep 1; echo '${answer}'\n`,
  );
  // Not script(1), which Debian's base has up to 13; socat does not end as its program did.
  return `cat >/run/commands <<'END'
${commands}
END
echo 'sh -e /run/commands; echo $? >/run/ended' >/run/session
: >${SHOWN}
{
${typing.join('')}} | socat -t ${SECONDS} - 'EXEC:sh /run/session,pty,setsid,ctty,stderr,onlcr=0' | tee ${SHOWN}
[ "$(cat /run/ended)" = 0 ]
`;
}
