import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { checkVersion, consoleFault } from './banner.ts';
import { needSpace } from './cache.ts';
import { command, HarnessError } from './command.ts';
import type { Boot, BootResult, Guest, GuestFile } from './guest.ts';
import { type MachineImage, machineImage } from './machine-image.ts';
import { preparationFault, readReport } from './machine-report.ts';
import { startEmulatedTpm } from './machine-tpm.ts';
import { qemuArguments } from './qemu.ts';

/** What a boot writes. */
const FREE_MB = 1000;
/** From power on to systemd, the script, the journal over a serial port, and from the report to power off. */
const OVERHEAD_SECONDS = 180;
/** Of the console of a guest that crashed. */
const SHOWN_LINES = 30;
/** timeout(1)'s exit statuses: it ended the program; the program did not heed it. */
const OUT_OF_TIME = [124, 137];

/** Boots a virtual machine: QEMU without KVM, which makes a guest about as fast as a small board. */
export const bootMachine: Boot = async (suite, guest, { scenario, folder, after }) => {
  const step = `${scenario} on ${suite} (machine)`;
  needSpace(folder, FREE_MB, step);
  const image = await machineImage(suite);
  await disks(step, folder, image, guest, after);
  await layOut(step, folder, guest);
  const tpm = guest.tpm === null ? null : await startEmulatedTpm(step, folder, guest.tpm);
  const start = performance.now();
  // The boot has its watchdog, and the script.
  const seconds = 2 * guest.watchdogSeconds + OVERHEAD_SECONDS;
  let status: number;
  try {
    // Ends with this process, however that ends.
    const qemu = [
      'setpriv',
      '--pdeathsig=TERM',
      'timeout',
      '--kill-after=5',
      String(seconds),
      'qemu-system-x86_64',
    ];
    const accept = [0, ...OUT_OF_TIME];
    const log = join(folder, 'qemu.log');
    const timeoutMs = (seconds + 10) * 1000;
    const program = [...qemu, ...qemuArguments(folder, image, guest, tpm?.socket ?? null)];
    status = await command(program, { step, log, timeoutMs, accept });
  } finally {
    await tpm?.stop();
  }
  const result = read(step, folder, (performance.now() - start) / 1000);
  const console = join(folder, 'console.log');
  if (OUT_OF_TIME.includes(status))
    throw wentWrong(step, console, `the guest did not end within ${seconds} s`);
  if (result === null) throw wentWrong(step, console, 'the guest crashed');
  if (after === undefined) checkVersion(step, suite, result.journal, console);
  return result;
};

/** @returns null when there is no whole report */
function read(step: string, folder: string, seconds: number): BootResult | null {
  const text = readFileSync(join(folder, 'report.log'), 'utf8');
  const console = join(folder, 'console.log');
  const fault = preparationFault(text);
  if (fault !== null) throw new HarnessError(step, `the guest ${fault}`, console);
  const seen = consoleFault(readConsole(console));
  if (seen !== null) throw wentWrong(step, console, seen);
  const report = readReport(text);
  if (report === null) return null;
  writeFileSync(join(folder, 'journal'), report.journal);
  return { ...report, seconds, folder };
}

const readConsole = (console: string) => stripVTControlCharacters(readFileSync(console, 'utf8'));

function wentWrong(step: string, console: string, reason: string): HarnessError {
  const end = readConsole(console).trimEnd().split('\n').slice(-SHOWN_LINES).join('\n');
  return new HarnessError(step, `${reason}; its console's end:\n${end}\n`, console);
}

/** What the guest writes goes to files of its own (qcow2), which the next boot of the same machine takes over. */
async function disks(
  step: string,
  folder: string,
  image: MachineImage,
  guest: Guest,
  after: BootResult | undefined,
): Promise<void> {
  const log = join(folder, 'qemu-img.log');
  const below = new Map([
    ['root', image.disk],
    ...guest.disks.map(({ serial, image }) => [serial, image] as const),
  ]);
  for (const [name, file] of below) {
    const layer = join(folder, `${name}.qcow2`);
    if (after !== undefined) renameSync(join(after.folder, `${name}.qcow2`), layer);
    else {
      const create = ['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', file, layer];
      await command(create, { step, log, timeoutMs: 30_000 });
    }
  }
}

/** The scenario's files as a tar that is a disk: its size is a multiple of what NVMe takes. */
async function layOut(step: string, folder: string, guest: Guest): Promise<void> {
  const tree = join(folder, 'files');
  const enable = guest.enable.map((unit) => `SYSTEMD_OFFLINE=1 systemctl --quiet enable '${unit}'`);
  const own: Record<string, GuestFile> = {
    '/boot-test/prepare': { content: [guest.prepare, ...enable].join('\n') },
    '/boot-test/script': { content: guest.script },
    '/boot-test/watchdog': { content: String(guest.watchdogSeconds) },
  };
  for (const [path, { content, mode = 0o644 }] of Object.entries({ ...own, ...guest.files })) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), content, { mode });
  }
  const tar = ['tar', '-cf', join(folder, 'files.tar'), '--record-size=1M', '-C', tree, '.'];
  await command(tar, { step, log: join(folder, 'tar.log'), timeoutMs: 60_000 });
}
