import { serveHttps } from '../../src/os/https-server.ts';
import { listeningSockets } from '../../src/os/listen-fds.ts';
import { selfSigned } from './certificates.ts';
import { text } from './https.ts';

/** A server on the socket that systemd passed: its answer is what was passed. Ends with SIGTERM. */
const sockets = listeningSockets(process.env, ['https', 'operator']);
const { certificate, key } = selfSigned({});
const left = Object.keys(process.env).filter((name) => name.startsWith('LISTEN_'));
const answer = async () => text(200, JSON.stringify({ sockets: [...sockets], left }));
const service = { admits: () => true, crowded() {}, answer, refuse: () => text(400, '') };
const place = { fd: sockets.get('https') ?? -1 };
const listener = await serveHttps({ certificate, key, asksForKey: false, place }, service);
process.once('SIGTERM', () => void listener.stop());
