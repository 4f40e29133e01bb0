import { createServer, type RequestListener } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createAuthority, daysFromNow, type Wanted } from '../support/certificates.ts';
import { portToKeep } from '../support/ports.ts';
import { answer, serveBytes, serveHttp, serveTls } from '../support/servers.ts';
import { type Outcome, setStage } from '../support/stage.ts';

// Most of the time is waiting.
t.jobs = 4;

const KEY = Buffer.from('a key\nof two lines\n');
const authority = createAuthority('the authority');
const ca = `${t.testdir({ 'ca.pem': authority.certificate })}/ca.pem`;
const ours: Wanted = { names: ['127.0.0.1'] };

/** @returns the URL, whose query is as secret as the key */
async function serve(t: Test, listener: RequestListener, by = authority, wanted = ours): Promise<string> {
  const { certificate, key } = by.issue(wanted);
  const http = createServer(listener);
  const { port } = await serveTls(t, { cert: certificate, key }, (socket) => http.emit('connection', socket));
  return `https://127.0.0.1:${port}/key?token=hush`;
}

async function shows(t: Test, title: string, url: string, outcome: Outcome, fields: object = { ca }) {
  const stage = await setStage(t);
  stage.configure({ volumes: { data: { url, 'give-up-after': '3s', ...fields } } });
  await stage.shows(t, title, 'data', outcome);
  t.notMatch(stage.journal.join('\n'), 'hush', `${title}: the query stays secret`);
}

const place = (url: string) => RegExp.escape(url.replace(/\?.*/, ''));
const delivered = (url: string): Outcome => ({
  status: 0,
  line: new RegExp(`^data: key delivered, opened by ${place(url)} in \\d+ ms$`),
  gets: KEY,
});
const refused = (url: string, reason: string): Outcome => ({
  status: 4,
  line: new RegExp(`^data: ${place(url)}: ${RegExp.escape(reason)}`),
});
/** @param reason a regular expression's source */
const unavailable = (url: string, reason: string): Outcome => ({
  status: 5,
  line: new RegExp(`^data: ${place(url)}: ${reason} \\(gave up after \\d (?:try|tries) in \\d\\.\\d s\\)`),
});

t.test('the body of the answer is the key, if the certificate is right', async (t) => {
  const expired = { ...ours, from: daysFromNow(-9), until: daysFromNow(-1) };
  const give = answer(200, KEY);
  const [right, late, misnamed, foreign] = await Promise.all([
    serve(t, give),
    serve(t, give, authority, expired),
    serve(t, give, authority, { names: ['elsewhere.example'] }),
    serve(t, give, createAuthority('a stranger')),
  ]);
  const pin = { pin: `sha256/${Buffer.alloc(32).toString('base64url')}` };
  await Promise.all([
    shows(t, 'right', right, delivered(right)),
    shows(t, 'expired', late, unavailable(late, 'certificate expired on \\S+Z, by our clock it is \\S+Z')),
    shows(
      t,
      'of another name',
      misnamed,
      unavailable(
        misnamed,
        'certificate of another name: expected 127\\.0\\.0\\.1, got DNS:elsewhere\\.example',
      ),
    ),
    shows(
      t,
      'of an unknown CA',
      foreign,
      unavailable(foreign, 'certificate of an unknown authority, CN=a stranger'),
    ),
    shows(
      t,
      'not the pinned key',
      right,
      unavailable(right, 'the server.s key is not the pinned one: .*'),
      pin,
    ),
    shows(
      t,
      'a CA that is not there',
      right,
      { status: 3, line: /\/absent\.pem: no such file/ },
      { ca: '/absent.pem' },
    ),
  ]);
});

const byteASecond: RequestListener = (_request, response) => {
  response.writeHead(200, { 'content-length': 200 });
  const timer = setInterval(() => response.write('k'), 1000);
  response.on('close', () => clearInterval(timer));
};

t.test('a server may refuse, and everything else is asked for again', async (t) => {
  let followed = 0;
  const elsewhere = await serveHttp(t, () => followed++);
  const location = `http://127.0.0.1:${elsewhere.port}/`;
  const cut: RequestListener = (_request, response) => {
    response.writeHead(200, { 'content-length': 64 }).write('half', () => response.destroy());
  };
  const cases: Record<string, [listener: RequestListener, kind: typeof refused, reason: string]> = {
    '401': [answer(401, ''), refused, 'answered 401 (unauthorized)'],
    '403': [answer(403, ''), refused, 'answered 403 (forbidden)'],
    '404': [answer(404, ''), refused, 'answered 404 (not found)'],
    '410': [answer(410, ''), refused, 'answered 410 (gone)'],
    'an empty body': [answer(200, ''), refused, 'answered 200 with an empty body, expected a key'],
    '408': [answer(408, ''), unavailable, 'answered 408, expected 200'],
    '429': [answer(429, ''), unavailable, 'answered 429, expected 200'],
    '500': [answer(500, KEY), unavailable, 'answered 500, expected 200'],
    '503': [answer(503, ''), unavailable, 'answered 503, expected 200'],
    'a redirect': [
      answer(302, '', { location }),
      unavailable,
      'answered 302, a redirect, which is not followed',
    ],
    '10 MiB': [answer(200, Buffer.alloc(10 * 1024 * 1024)), unavailable, 'answered more than 8192 bytes'],
    'a content encoding': [
      answer(200, KEY, { 'content-encoding': `x (hint: run this) ${'x'.repeat(5000)}` }),
      unavailable,
      'answered with content encoding x \\(hint: run this\\) x+…',
    ],
    'a byte a second': [byteASecond, unavailable, 'no answer'],
    'half a key': [cut, unavailable, 'connection (?:closed before the answer was complete|reset)'],
  };
  const asked = Object.entries(cases).map(async ([title, [listener, kind, reason]]) => {
    const url = await serve(t, listener);
    await shows(t, title, url, kind(url, reason));
  });
  await Promise.all(asked);
  t.equal(followed, 0, 'nobody went where the redirect leads');
});

t.test('a server that cannot be reached is asked again', async (t) => {
  const resetting = await serveBytes(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const reset = `https://127.0.0.1:${resetting.port}/key`;
  // No name server is asked for a name with an empty label.
  const nameless = 'https://keys..example/key';
  await Promise.all([
    shows(t, 'reset', reset, unavailable(reset, '(?:TLS handshake failed|connection (?:reset|closed).*)')),
    shows(
      t,
      'no such name',
      nameless,
      unavailable(nameless, 'name keys\\.\\.example does not resolve \\(ENOTFOUND\\)'),
    ),
  ]);
});

t.test('until it comes up', async (t) => {
  const stage = await setStage(t);
  const port = await portToKeep();
  const url = `http://127.0.0.1:${port}/key`;
  stage.configure({ volumes: { data: { url, 'allow-plaintext': true } } });
  const done = stage.shows(t, 'recovered', 'data', delivered(url));
  await pause(5000);
  const server = createServer(answer(200, KEY)).listen(port, '127.0.0.1');
  await done;
  server.close();
});
