import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { connectFrom, hungUp, memfdCreate, peerCredentials, peerName, tryFlock } from '../../src/os/libc.ts';

/** A descriptor of Node's own, as systemd would pass one. */
function descriptorOf(handle: Socket | Server): number {
  return (handle as unknown as { _handle: { fd: number } })._handle.fd;
}

/** A folder whose path leaves room in an address of 108 bytes (unix(7)). */
function shortFolder(t: Test): string {
  const folder = mkdtempSync('/tmp/libc-');
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Listens, lets `connect` connect, and gives the accepted end. */
async function acceptOne(
  t: Test,
  address: string | number,
  connect: (server: Server) => void,
): Promise<number> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const { promise, resolve } = Promise.withResolvers<Socket>();
  server.once('connection', resolve);
  await new Promise<void>((done) => server.listen(address, done));
  connect(server);
  const accepted = await promise;
  t.teardown(() => {
    accepted.destroy();
    server.close();
  });
  return descriptorOf(accepted);
}

t.test('memfdCreate gives a file without a path that children do not inherit', async (t) => {
  const fd = memfdCreate('a name');
  t.match(readlinkSync(`/proc/self/fd/${fd}`), '/memfd:a name (deleted)');
  t.equal(fstatSync(fd).size, 0);
  t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /^flags:\s+0?2\d{6}$/m, 'O_CLOEXEC');
  closeSync(fd);
});

t.test('memfdCreate says why it failed', async (t) => {
  // memfd_create(2): the name may be at most 249 bytes.
  t.throws(() => memfdCreate('x'.repeat(300)), { code: 'unavailable', message: /EINVAL/ });
});

t.test('tryFlock is exclusive between open file descriptions and ends with the descriptor', async (t) => {
  const path = `${t.testdir({ lock: '' })}/lock`;
  const [first, second] = [openSync(path, 'r'), openSync(path, 'r')];
  t.equal(tryFlock(first), true);
  t.equal(tryFlock(first), true, 'it holds it already');
  t.equal(tryFlock(second), false);
  closeSync(first);
  t.equal(tryFlock(second), true);
  closeSync(second);
  t.throws(() => tryFlock(second), { code: 'bug', message: /EBADF/ });
});

t.test('errno is right each time, also while memory is collected', async (t) => {
  const path = `${t.testdir({ lock: '' })}/lock`;
  const [first, second] = [openSync(path, 'r'), openSync(path, 'r')];
  tryFlock(first);
  // A wrong errno would make tryFlock throw.
  let garbage: Uint8Array[] = [];
  for (let i = 0; i < 100_000; i++) {
    if (tryFlock(second)) t.fail('two locks');
    garbage.push(new Uint8Array(i % 3000));
    if (garbage.length > 2000) garbage = [];
  }
  for (const fd of [first, second]) closeSync(fd);
});

t.test('peerName gives an abstract name with its NUL, whatever its bytes', async (t) => {
  const folder = shortFolder(t);
  for (const [index, name] of [
    Buffer.from('\0f00d/cryptsetup/volume'),
    Buffer.concat([Buffer.alloc(1), Buffer.alloc(107, 0xff)]),
    Buffer.from('\0ends in NUL\0'),
  ].entries()) {
    const path = `${folder}/${index}`;
    let client = -1;
    const fd = await acceptOne(t, path, () => {
      client = connectFrom(name, path);
    });
    t.same(peerName(fd), name);
    closeSync(client);
  }
});

t.test('peerName gives a path without its NUL, and nothing for a peer without a name', async (t) => {
  const folder = shortFolder(t);
  const path = `${folder}/s`;
  let client = -1;
  const named = await acceptOne(t, path, () => {
    client = connectFrom(Buffer.from(`${folder}/client\0`), path);
  });
  t.equal(peerName(named).toString(), `${folder}/client`);
  closeSync(client);
  const unnamed = await acceptOne(t, `${folder}/t`, () => {
    const socket = createConnection(`${folder}/t`);
    t.teardown(() => socket.destroy());
  });
  t.equal(peerName(unnamed).length, 0);
});

t.test('what is no AF_UNIX connection is a bad request', async (t) => {
  const tcp = await acceptOne(t, 0, (server) => {
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('no port');
    const socket = createConnection(address.port, '127.0.0.1');
    t.teardown(() => socket.destroy());
  });
  const file = openSync('/dev/null', 'r');
  t.throws(() => peerName(tcp), { code: 'bad-request', message: /expected address family AF_UNIX/ });
  t.throws(() => peerCredentials(tcp), { code: 'bad-request', message: /no peer/ });
  t.throws(() => peerName(file), { code: 'bad-request', message: /ENOTSOCK/ });
  t.throws(() => peerCredentials(file), { code: 'bad-request', message: /ENOTSOCK/ });
  closeSync(file);
});

t.test('peerCredentials tells who connected', async (t) => {
  const path = `${shortFolder(t)}/s`;
  const fd = await acceptOne(t, path, () => {
    const socket = createConnection(path);
    t.teardown(() => socket.destroy());
  });
  t.same(peerCredentials(fd), { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
});

t.test('hungUp: a client that shut its writing side is still there, one that closed is not', async (t) => {
  const path = `${shortFolder(t)}/s`;
  let client: Socket | undefined;
  const fd = await acceptOne(t, path, () => {
    client = createConnection({ path, allowHalfOpen: true });
  });
  t.equal(hungUp(fd), false);
  await new Promise<void>((done) => client?.end(done));
  t.equal(hungUp(fd), false, 'after shutdown(SHUT_WR), with which systemd begins');
  client?.destroy();
  await new Promise((done) => client?.once('close', done));
  t.equal(hungUp(fd), true);
});

t.test('hungUp of a closed descriptor is a bug of ours', async (t) => {
  const fd = openSync('/dev/null', 'r');
  closeSync(fd);
  t.throws(() => hungUp(fd), { code: 'bug' });
});
