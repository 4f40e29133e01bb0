import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { AppError } from '../base/errors.ts';
import type { DurableFiles } from '../base/ports.ts';

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_TRUNC } = constants;

export const durableFiles: DurableFiles = {
  size: (path) => attempt(path, () => statSync(path, { throwIfNoEntry: false })?.size ?? null),

  create(path) {
    withFile(path, O_RDWR | O_CREAT | O_TRUNC, fsyncSync);
    syncFolder(path);
  },

  replace(path, contents) {
    const about = attempt(path, () => statSync(path, { throwIfNoEntry: false }));
    const target = about === undefined ? path : attempt(path, () => realpathSync(path));
    // Of a name that nobody else has: whatever lies beside the file is somebody's.
    const fresh = `${target}.${randomBytes(8).toString('hex')}.new`;
    withFile(fresh, O_RDWR | O_CREAT | O_EXCL, () => {});
    try {
      withFile(fresh, O_RDWR, (fd) => {
        // Not called for nothing: sandboxes forbid it.
        const { uid, gid } = fstatSync(fd);
        if (about !== undefined && (about.uid !== uid || about.gid !== gid)) {
          fchownSync(fd, about.uid, about.gid);
        }
        if (about !== undefined) fchmodSync(fd, about.mode & 0o7777);
        writeFileSync(fd, contents);
        fsyncSync(fd);
      });
      durableFiles.rename(fresh, target);
    } catch (thrown) {
      durableFiles.remove(fresh);
      throw thrown;
    }
  },

  rename(from, to) {
    attempt(to, () => renameSync(from, to));
    syncFolder(to);
  },

  remove(path) {
    attempt(path, () => rmSync(path, { force: true }));
    syncFolder(path);
  },

  makeFolder(path) {
    attempt(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
    syncFolder(path);
  },

  lines(path) {
    if (durableFiles.size(path) === null) return [];
    const text = attempt(path, () => readFileSync(path, 'utf8'));
    return text.split('\n').slice(0, -1);
  },

  append(path, lines) {
    const isNew = durableFiles.size(path) === null;
    withFile(path, O_RDWR | O_CREAT, (fd) => {
      const end = endOfLines(fd);
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
      try {
        // What a crash cut off was never acknowledged, and would run into the next line.
        ftruncateSync(fd, end);
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, end + at);
        fsyncSync(fd);
      } catch (cause) {
        ftruncateSync(fd, end);
        throw cause;
      }
    });
    if (isNew) syncFolder(path);
  },
};

/** Offset behind the last whole line. */
function endOfLines(fd: number): number {
  const { size } = fstatSync(fd);
  if (size === 0) return 0;
  return readFileSync(fd).lastIndexOf('\n') + 1;
}

/**
 * A name is durable once its folder is (fsync(2)). The folder may be a link, as the state of a service with DynamicUser=
 * is (systemd.exec(5)).
 */
function syncFolder(path: string): void {
  const end = path.lastIndexOf('/');
  withOpen(end === -1 ? '.' : path.slice(0, end) || '/', O_RDONLY | O_DIRECTORY, fsyncSync);
}

function withFile(path: string, flags: number, work: (fd: number) => void): void {
  withOpen(path, flags | O_NOFOLLOW, work);
}

function withOpen(path: string, flags: number, work: (fd: number) => void): void {
  attempt(path, () => {
    const fd = openSync(path, flags, 0o600);
    try {
      work(fd);
    } finally {
      closeSync(fd);
    }
  });
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new AppError('unavailable', `${path}: ${reason}`, { cause });
  }
}
