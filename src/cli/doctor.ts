import { limits } from '../base/limits.ts';
import { diagnose } from '../doctor/doctor.ts';
import { type Finding, type FindingCode, finding, sorted } from '../doctor/finding.ts';
import { gather } from '../doctor/gather.ts';
import { check } from './checking.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';
import type { Finding as CheckFinding } from './findings.ts';
import type { World } from './world.ts';

export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'tell before the reboot what would go wrong at it',
  help: `usage: fetch-luks-key doctor [--etc DIR] [--crypttab FILE] [--json]

Looks at all that the next boot depends on: units and their order, as systemd
itself works it out with the crypttab of now; crypttab, fstab and config.yaml;
LUKS headers; whether the TPM, Tang servers and key servers would answer. No
key is opened and nothing is changed. Run it as root.

Each finding has a code, and docs/DOCTOR.md a section for each:
  breaks-boot   at the next boot a volume would not open, or it would hang
  weakens       it opens, but less is held off, or it soon will not
  note          worth knowing

  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab
  --json            print {"findings": [{"code", "severity", "about", "what",
                    "fix"}, ...]}

exit status: 0, or 1 when something would break the next boot

example:
  fetch-luks-key doctor && reboot
`,

  async run(args, world) {
    const options = { ...placeOptions, json: { type: 'boolean' } } as const;
    const { values } = parseCommandLine('doctor', args, options);
    const places = placesFrom(values);
    const findings = sorted([
      ...fromCheck(await check(world.files, places.etc, places.crypttab), places.etc),
      ...diagnose(await gather(places, '/etc/fstab', world, world.signal)),
    ]);
    if (values.json) world.print(`${JSON.stringify({ findings })}\n`);
    else show(findings, world);
    return findings.some(({ severity }) => severity === 'breaks-boot') ? 1 : 0;
  },
};

/** What `check` says of files; of headers and what is in them the doctor says more. */
export function fromCheck(findings: readonly CheckFinding[], etc: string): Finding[] {
  return findings.flatMap((one) => {
    const code = one.level === 'error' ? codeOf(one, etc) : null;
    return code === null ? [] : [finding(code, one.where, one.message, one.hint ?? 'correct it as it says')];
  });
}

function codeOf({ code, message, where }: CheckFinding, etc: string): FindingCode | null {
  if (code === 'not-allowed') return 'pin-not-allowed';
  const isSealed = ['volumes', 'credentials', 'credentials.encrypted'].some((name) =>
    where.startsWith(`${etc}/${name}/`),
  );
  if (code === 'damaged' && isSealed) return 'sealed-key-damaged';
  if (code !== 'bad-config' || message.startsWith('expected no keyfile-offset=')) return null;
  if (message.startsWith('volume name ')) return isTooLong(message) ? 'name-too-long' : 'configuration-wrong';
  return message.startsWith('expected not to be ') ? 'file-mode' : 'configuration-wrong';
}

/** A name of 78 bytes can be a wrong one, but not for that. */
function isTooLong(message: string): boolean {
  return Number(/got (\d+)$/.exec(message)?.[1]) > limits.volumeNameBytes;
}

function show(findings: readonly Finding[], { print, say }: World): void {
  for (const { severity, code, about, what, fix } of findings) {
    print(
      `${severity}: ${about}: ${what} [${code}]\n  fix: ${fix}\n`.replaceAll(/\s*\n(?! {2}fix: |$)\s*/g, ' '),
    );
  }
  const broken = findings.filter(({ severity }) => severity === 'breaks-boot').length;
  say(
    broken === 0
      ? 'nothing here breaks the next boot'
      : `${broken} of ${findings.length} break the next boot`,
  );
}
