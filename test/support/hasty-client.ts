/** A process that sends each request at once when it has the answer to the one before. Arguments: PORT CONNECTIONS REQUESTS */
import { once } from 'node:events';
import { connect } from 'node:tls';

const [port, connections, requests] = process.argv.slice(2).map(Number);
const REQUEST = 'POST / HTTP/1.1\r\nHost: keys.example\r\nContent-Length: 2\r\n\r\n{}';

/** @returns how many were answered */
async function ask(): Promise<number> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  socket.setNoDelay(true);
  const gone = once(socket, 'close').then(() => null);
  let answered = 0;
  for (; answered < (requests ?? 0); answered++) {
    socket.write(REQUEST);
    if ((await Promise.race([once(socket, 'data'), gone])) === null) break;
  }
  socket.destroy();
  return answered;
}

const answered = await Promise.all(Array.from({ length: connections ?? 0 }, ask));
process.stdout.write(JSON.stringify(answered));
