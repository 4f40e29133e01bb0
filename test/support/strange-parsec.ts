import { createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import { ownFolder } from './tpm.ts';

/** What a real service does not do on demand. @param behave with each connection @returns the socket's path */
export async function strangeParsec(t: Test, behave: (socket: Socket) => void): Promise<string> {
  const path = `${ownFolder(t)}/parsec.sock`;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    // The other side may be gone.
    socket.on('error', () => {});
    behave(socket);
  });
  await new Promise<void>((done) => server.listen(path, done));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((done) => server.close(done));
  });
  return path;
}

/** A response in wire protocol 1.0, but for what `change` does to it. */
export function response(
  opcode: number,
  body: Uint8Array,
  change: (header: Buffer) => void = () => {},
): Buffer {
  const header = Buffer.alloc(36);
  header.writeUInt32LE(0x5ec0a710);
  header.writeUInt16LE(30, 4);
  header.writeUInt8(1, 6);
  header.writeUInt32LE(body.length, 22);
  header.writeUInt32LE(opcode, 28);
  change(header);
  return Buffer.concat([header, body]);
}
