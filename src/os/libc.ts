import { dlopen, getInt32, getRawPointer } from 'node:ffi';
import { closeSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { AppError, type ErrorCode } from '../base/errors.ts';

/**
 * The calls of the C library that Node does not offer. Constants are those of Linux on x86-64 and arm64, structures
 * are laid out as there.
 */
const { functions: libc } = dlopen(null, {
  memfd_create: { arguments: ['pointer', 'u32'], return: 'i32' },
  madvise: { arguments: ['u64', 'u64', 'i32'], return: 'i32' },
  mkfifo: { arguments: ['pointer', 'u32'], return: 'i32' },
  flock: { arguments: ['i32', 'i32'], return: 'i32' },
  poll: { arguments: ['pointer', 'u64', 'i32'], return: 'i32' },
  getpeername: { arguments: ['i32', 'pointer', 'pointer'], return: 'i32' },
  getsockname: { arguments: ['i32', 'pointer', 'pointer'], return: 'i32' },
  _exit: { arguments: ['i32'], return: 'void' },
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  bind: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  connect: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  tcgetattr: { arguments: ['i32', 'pointer'], return: 'i32' },
  tcsetattr: { arguments: ['i32', 'i32', 'pointer'], return: 'i32' },
  sendto: { arguments: ['i32', 'pointer', 'u64', 'i32', 'pointer', 'u32'], return: 'i64' },
  getsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'pointer'], return: 'i32' },
  __errno_location: { arguments: [], return: 'pointer' },
});

/** errno of this thread, which does not move. Read it before anything else: nothing keeps it for us. */
const errnoLocation = libc.__errno_location();

function failed(call: string, code: ErrorCode, errno: number): AppError {
  return new AppError(code, `${call}: failed (${getSystemErrorName(-errno)})`);
}

/**
 * An anonymous file in memory, closed on exec (memfd_create(2)).
 * @param name shown in /proc/self/fd only
 * @throws AppError `unavailable` when the kernel has no memory or descriptor left
 */
export function memfdCreate(name: string): number {
  const MFD_CLOEXEC = 1;
  const fd = libc.memfd_create(getRawPointer(Buffer.from(`${name}\0`)), MFD_CLOEXEC);
  if (fd < 0) throw failed('memfd_create', 'unavailable', getInt32(errnoLocation));
  return fd;
}

/**
 * Takes pages out of this process (madvise(2), MADV_DONTNEED): what is read there again comes from the file again.
 * @param from address of a whole mapping of a file, in which this process has changed nothing
 * @param length bytes
 */
export function unmapPages(from: bigint, length: bigint): void {
  const MADV_DONTNEED = 4;
  libc.madvise(from, length, MADV_DONTNEED);
}

/** A FIFO of mode 0600 (mkfifo(3)). @throws AppError `unavailable` */
export function makeFifo(path: string): void {
  if (libc.mkfifo(getRawPointer(Buffer.from(`${path}\0`)), 0o600) === 0) return;
  throw failed(`mkfifo ${path}`, 'unavailable', getInt32(errnoLocation));
}

/**
 * Takes an exclusive lock on an open file description, without waiting (flock(2)); closing it releases the lock.
 * @returns false when another open file description holds one
 * @throws AppError `bug` for anything else, such as a closed descriptor
 */
export function tryFlock(fd: number): boolean {
  const LOCK_EX = 2;
  const LOCK_NB = 4;
  const EWOULDBLOCK = 11;
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = getInt32(errnoLocation);
  if (errno === EWOULDBLOCK) return false;
  throw failed('flock', 'bug', errno);
}

/**
 * Whether the peer of a connection is gone for good (poll(2), without waiting). Its shutdown(SHUT_WR), with which
 * systemd begins, does not count: that gives POLLRDHUP, not POLLHUP.
 * @throws AppError `bug` when `fd` is closed
 */
export function hungUp(fd: number): boolean {
  const POLLERR = 0x08;
  const POLLHUP = 0x10;
  const POLLNVAL = 0x20;
  const EINTR = 4;
  // struct pollfd: int fd, short events, short revents. Errors and hang-ups need not be asked for.
  const pollfd = Buffer.alloc(8);
  pollfd.writeInt32LE(fd, 0);
  if (libc.poll(getRawPointer(pollfd), 1n, 0) < 0) {
    const errno = getInt32(errnoLocation);
    // A signal came in between, such as a child's end: the next look tells.
    if (errno === EINTR) return false;
    throw failed('poll', 'bug', errno);
  }
  const events = pollfd.readInt16LE(6);
  if ((events & POLLNVAL) !== 0) throw new AppError('bug', `poll: descriptor ${fd} is not open`);
  return (events & (POLLERR | POLLHUP)) !== 0;
}

/**
 * The name that the peer of an AF_UNIX connection is bound to (getpeername(2), unix(7)).
 * @returns an abstract name with its leading NUL; a path without its closing NUL; empty when the peer has none
 * @throws AppError `bad-request` when `fd` is no connection, or one of another family
 */
export function peerName(fd: number): Buffer {
  return unixName('getpeername', fd);
}

/**
 * The name that an AF_UNIX socket is bound to itself (getsockname(2), unix(7)): that of the socket which it was accepted
 * from. Returns and throws as `peerName`.
 */
export function ownName(fd: number): Buffer {
  return unixName('getsockname', fd);
}

function unixName(call: 'getpeername' | 'getsockname', fd: number): Buffer {
  const AF_UNIX = 1;
  // struct sockaddr_un: sa_family_t, then up to 108 bytes of sun_path.
  const address = Buffer.alloc(2 + 108);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length);
  if (libc[call](fd, getRawPointer(address), getRawPointer(length)) !== 0) {
    throw failed(`${call} of descriptor ${fd}`, 'bad-request', getInt32(errnoLocation));
  }
  const family = address.readUInt16LE(0);
  if (family !== AF_UNIX) {
    throw new AppError('bad-request', `connection: expected address family AF_UNIX (1), got ${family}`);
  }
  const path = address.subarray(2, Math.min(length.readUInt32LE(0), address.length));
  return path.at(0) !== 0 && path.at(-1) === 0 ? path.subarray(0, -1) : path;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Who connected (SO_PEERCRED, unix(7)): as it was at connect(2).
 * @throws AppError `bad-request` when `fd` is no AF_UNIX socket
 */
export function peerCredentials(fd: number): PeerCredentials {
  const SOL_SOCKET = 1;
  const SO_PEERCRED = 17;
  // struct ucred: pid_t, uid_t, gid_t.
  const ucred = Buffer.alloc(12);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(ucred.length);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, getRawPointer(ucred), getRawPointer(length)) !== 0) {
    throw failed(`SO_PEERCRED of descriptor ${fd}`, 'bad-request', getInt32(errnoLocation));
  }
  const peer = { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8) };
  // A socket of another family, or one that is not connected, has nobody at the other end.
  if (peer.pid === 0)
    throw new AppError('bad-request', `SO_PEERCRED of descriptor ${fd}: the socket has no peer`);
  return peer;
}

/**
 * A stream connection to the AF_UNIX socket at `path`, from the address `from` (unix(7)): net.Socket cannot bind one.
 * @param from an abstract name with its leading NUL
 * @returns a descriptor that the caller closes
 * @throws AppError `unavailable` when nobody listens there, `refused` when that is not permitted
 */
export function connectFrom(from: Buffer, path: string): number {
  const AF_UNIX = 1;
  const SOCK_STREAM_CLOEXEC_NONBLOCK = 0o2004001;
  const EACCES = 13;
  const fd = libc.socket(AF_UNIX, SOCK_STREAM_CLOEXEC_NONBLOCK, 0);
  if (fd < 0) throw failed('socket', 'unavailable', getInt32(errnoLocation));
  for (const [call, name] of [
    ['bind', from],
    ['connect', Buffer.from(`${path}\0`)],
  ] as const) {
    const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), name]);
    if (libc[call](fd, getRawPointer(address), address.length) === 0) continue;
    const errno = getInt32(errnoLocation);
    closeSync(fd);
    throw failed(`${call} ${path}`, errno === EACCES ? 'refused' : 'unavailable', errno);
  }
  return fd;
}

/**
 * Lets a terminal stop showing what is typed (termios(3)); what was typed before is dropped.
 * @returns undoes it
 * @throws AppError `unavailable` when `fd` is no terminal
 */
export function withoutEcho(fd: number): () => void {
  const TCSAFLUSH = 2;
  const ECHO = 0o10;
  // struct termios: c_iflag, c_oflag, c_cflag, c_lflag, 4 bytes each, then c_line, c_cc and speeds: 60 bytes in all.
  const LOCAL_FLAGS = 12;
  const settings = Buffer.alloc(64);
  const set = () => {
    if (libc.tcsetattr(fd, TCSAFLUSH, getRawPointer(settings)) === 0) return;
    throw failed('tcsetattr', 'unavailable', getInt32(errnoLocation));
  };
  if (libc.tcgetattr(fd, getRawPointer(settings)) !== 0) {
    throw failed('tcgetattr', 'unavailable', getInt32(errnoLocation));
  }
  const before = settings.readUInt32LE(LOCAL_FLAGS);
  settings.writeUInt32LE((before & ~ECHO) >>> 0, LOCAL_FLAGS);
  set();
  return () => {
    settings.writeUInt32LE(before, LOCAL_FLAGS);
    set();
  };
}

/**
 * One datagram to the AF_UNIX socket at `to` (unix(7)), without waiting for room.
 * @param to a path, or an abstract name with its leading NUL
 * @throws AppError `unavailable` when nobody takes it
 */
export function sendDatagram(to: string, bytes: Uint8Array): void {
  const AF_UNIX = 1;
  const SOCK_DGRAM_CLOEXEC_NONBLOCK = 0o2004002;
  const MSG_NOSIGNAL = 0x4000;
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC_NONBLOCK, 0);
  if (fd < 0) throw failed('socket', 'unavailable', getInt32(errnoLocation));
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(to)]);
  const data = Buffer.from(bytes);
  const size = BigInt(data.length);
  const sent = libc.sendto(
    fd,
    getRawPointer(data),
    size,
    MSG_NOSIGNAL,
    getRawPointer(address),
    address.length,
  );
  const errno = getInt32(errnoLocation);
  closeSync(fd);
  if (sent !== size) throw failed(`sendto ${to}`, 'unavailable', errno);
}

/**
 * Ends the process at once (_exit(2)). Node's own exit waits for the threads of its pool, and one of them may be in a
 * name look-up or a read that hangs: nothing here is left to be written when it is called.
 */
export function exitNow(status: number): never {
  libc._exit(status);
  throw new Error('_exit returned');
}
