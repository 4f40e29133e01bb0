import { createServer, type Server } from 'node:net';

/**
 * A free port of 127.0.0.1 for a server that goes and comes back. It lies below those that the kernel hands out (from
 * 32768 on, ip(7) `ip_local_port_range`), which another test may be given in between.
 * @param count that many adjacent ones are free
 * @returns the first
 */
export async function portToKeep(count = 1): Promise<number> {
  for (;;) {
    const first = 10_000 + Math.floor(Math.random() * 20_000);
    const servers: (Server | null)[] = [];
    for (let index = 0; index < count; index++) {
      servers.push(await listen(first + index).catch(() => null));
    }
    for (const server of servers) await new Promise((done) => server?.close(done) ?? done(null));
    if (!servers.includes(null)) return first;
  }
}

function listen(port: number): Promise<Server> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
