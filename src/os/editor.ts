import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { Secret } from '../base/secret.ts';
import { makeScratchFolder } from './scratch-folder.ts';

/** Of an editor's environment: what it needs to show a text. Its own settings, and what it remembers, stay away. */
const KEPT = ['TERM', 'COLORTERM', 'LANG', 'LC_ALL', 'LC_CTYPE'] as const;
/** As sudoedit(8) chooses one; Debian's own default after that. */
const DEFAULT_EDITOR = '/usr/bin/editor';
/** What the editor's own failure is told apart by. */
const EDITOR_FAILED = 100;

/**
 * With mounts of its own, which are gone with its last process: ramfs, which unlike tmpfs is never swapped out, holds
 * the secret and all that an editor leaves beside it, in its home and in the folders for temporary files.
 * Arguments: FOLDER EDITOR; the secret comes on descriptor 3, and goes back on 4.
 */
const SCRIPT = `umask 077
mount -t ramfs -o mode=0700,nosuid,nodev,noexec ramfs "$1"
mkdir "$1/tmp"
for place in /tmp /var/tmp; do mount --bind "$1/tmp" "$place"; done
cat <&3 >"$1/secret"
export HOME="$1" TMPDIR="$1/tmp"
cd "$1"
sh -c "$2 \\"\\$1\\"" sh "$1/secret" 3<&- 4>&- || exit ${EDITOR_FAILED}
cat "$1/secret" >&4
`;

/**
 * @param environment VISUAL or EDITOR is a command, to which the file's name is added
 * @throws AppError `refused` (the editor failed), `unavailable`, `tool-missing`, `stopped`
 */
export async function editInMemory(
  secret: Secret,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Secret> {
  const editor = environment['VISUAL'] || environment['EDITOR'] || DEFAULT_EDITOR;
  using folder = makeScratchFolder();
  const kept = KEPT.filter((name) => environment[name] !== undefined);
  const program = ['--core=1', '/usr/bin/unshare', '--mount', '--propagation=private'];
  const child = spawn(
    '/usr/bin/prlimit',
    [...program, '/bin/sh', '-euc', SCRIPT, 'sh', folder.path, editor],
    {
      cwd: '/',
      env: {
        PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        ...Object.fromEntries(kept.map((name) => [name, environment[name]])),
      },
      // The editor has the terminal, and stays in the foreground's process group.
      stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'],
    },
  );
  const stop = () => child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new AppError('tool-missing', `prlimit: ${cause.message}`, { cause })),
    );
    child.once('close', resolve);
  });
  try {
    const [, , , input, output] = child.stdio as unknown as [null, null, null, Writable, Readable];
    // What does not read it has failed, and says so by its status.
    input.on('error', () => {}).end(secret.reveal());
    const [status, written] = await Promise.all([ended, collected(output)]);
    if (status === 0) return written;
    written.wipe();
    throw failure(status, editor, signal);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function failure(status: number | null, editor: string, signal: AbortSignal): AppError {
  if (signal.aborted || status === null)
    return new AppError('stopped', 'stopped before the editor had ended');
  if (status === EDITOR_FAILED) {
    return new AppError('refused', `${editor}: failed, so nothing is changed`, {
      hint: 'EDITOR names another',
    });
  }
  return new AppError('unavailable', 'no file system in memory could be mounted for the editor', {
    hint: 'only root can',
  });
}

async function collected(stream: Readable): Promise<Secret> {
  const bytes = Buffer.allocUnsafeSlow(limits.credentialBytes + 1);
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    // One byte more than is taken says that it is too long.
    length += chunk.copy(bytes, length);
    chunk.fill(0);
  }
  const secret = Secret.takeFrom(bytes.subarray(0, length));
  bytes.fill(0);
  return secret;
}
