import t from 'tap';
import { serveHttps } from '../../src/os/https-server.ts';
import { selfSigned } from '../support/certificates.ts';
import { connectTls, GET, received, text } from '../support/https.ts';

t.test('a listener for both families shows an IPv4 client as people write it', async (t) => {
  const { certificate, key } = selfSigned({});
  const listener = await serveHttps(
    { certificate, key, asksForKey: true, place: { host: '::', port: 0 } },
    {
      admits: () => true,
      crowded() {},
      answer: async ({ peer }) => text(200, peer.kind === 'network' ? peer.address : 'local'),
      refuse: () => text(400, 'refused'),
    },
  );
  t.teardown(() => listener.stop());
  for (const host of ['127.0.0.1', '::1']) {
    const socket = await connectTls(t, listener.port, { host });
    socket.write(GET);
    t.equal((await received(socket)).split('\r\n\r\n')[1], host);
  }
});
