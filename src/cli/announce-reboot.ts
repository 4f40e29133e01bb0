import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { KEEPALIVE_UNIT } from '../base/names.ts';
import { loadConfig } from '../config/load.ts';
import { announceReboot, isRebooting, JOBS_FILE } from '../keepalive/announce.ts';
import { type Command, etcOption, parseCommandLine } from './command.ts';

const NOT_BY_HAND = `${KEEPALIVE_UNIT} writes it, and runs this, when it stops`;

export const announceRebootCommand: Command = {
  name: 'announce-reboot',
  summary: 'tell servers of a reboot under way; started by systemd',
  help: `usage: fetch-luks-key announce-reboot [--etc DIR]

Does nothing unless systemd is about to reboot the machine, as its unit has
written down in ${JOBS_FILE}. Then it tells every
server that config.yaml names, with the proof that a key of theirs was opened,
so that this machine stays armed while it is away: for one boot within ten
minutes, from the same address, four times a day. A power-off is not announced,
nor a soft reboot. It takes 8 seconds at most.

  --etc DIR   default /etc/fetch-luks-key

example, as fetch-luks-key-keepalive.service has it:
  ExecStop=-/usr/bin/fetch-luks-key announce-reboot
`,

  async run(args, world) {
    const { values } = parseCommandLine('announce-reboot', args, etcOption);
    const { servers } = await loadConfig(world.files, values.etc);
    const signal = AbortSignal.any([world.signal, AbortSignal.timeout(limits.announceMs)]);
    if (servers.size === 0) return 0;
    const jobs = await world.files.read(JOBS_FILE, limits.jobListBytes);
    if (jobs === null) throw new AppError('unavailable', `${JOBS_FILE}: no such file`, { hint: NOT_BY_HAND });
    if (!isRebooting(jobs.toString())) return 0;
    const told = await Promise.all(
      [...servers].map(([name, settings]) => announceReboot(name, settings, world.keepalive, signal)),
    );
    return told.every(Boolean) ? 0 : 5;
  },
};
