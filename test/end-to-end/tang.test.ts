import { generateKeyPairSync } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createAuthority } from '../support/certificates.ts';
import { seal } from '../support/sealing.ts';
import { answer, serveBytes, serveHttp, serveTls } from '../support/servers.ts';
import { type Outcome, setStage } from '../support/stage.ts';
import { startTang } from '../support/tang.ts';

// Most of the time is waiting.
t.jobs = 3;

const KEY = 'from the network';
const tang = await startTang(t);
const adv: unknown = await (await fetch(`${tang.url}/adv`)).json();

/** Asks for a key that is sealed to the real server's keys and names the server at `url`. */
async function shows(t: Test, title: string, url: string, outcome: Outcome) {
  const stage = await setStage(t);
  stage.put('data', await seal('tang', { url, adv }, KEY));
  stage.configure({ volumes: { data: { 'give-up-after': outcome.status === 0 ? '1m' : '3s' } } });
  await stage.shows(t, title, 'data', outcome);
}

const unavailable = (url: string, reason: string, hint = ''): Outcome => {
  const where = `tang ${RegExp.escape(url)}(?:/rec/[\\w-]{43})?`;
  const gaveUp = `\\(gave up after \\d (?:try|tries) in \\d\\.\\d s\\)`;
  const line = `^data: \\S+/data\\.jwe: ${where}: ${RegExp.escape(reason)} ${gaveUp}`;
  return {
    status: 5,
    line: new RegExp(hint === '' ? `${line}$` : `${line} \\(hint: ${RegExp.escape(hint)}`),
  };
};

const jwk = (crv: 'P-256' | 'P-521') =>
  generateKeyPairSync('ec', { namedCurve: crv }).publicKey.export({ format: 'jwk' });
const json = (value: object) => answer(200, JSON.stringify(value));
const zero = Buffer.alloc(66).toString('base64url');

const byteASecond: RequestListener = (_request, response) => {
  response.writeHead(200, { 'content-length': 200 });
  const timer = setInterval(() => response.write('{'), 1000);
  response.on('close', () => clearInterval(timer));
};

const answers: Record<string, [listener: RequestListener, reason: string, hint?: string]> = {
  '404': [answer(404, ''), 'answered 404', 'the server does not have this key: was it rotated away?'],
  '500': [answer(500, ''), 'answered 500'],
  'a redirect': [answer(302, '', { location: tang.url }), 'answered 302: redirects are not followed'],
  '10 MiB': [answer(200, Buffer.alloc(10 * 1024 * 1024, 32)), 'answered more than 65536 bytes'],
  'a byte a second': [byteASecond, 'no answer'],
  'a page': [answer(200, '<html>'), 'answer: expected JSON'],
  'no point': [
    json({ ...jwk('P-521'), x: jwk('P-521').x }),
    'answer: expected a point on P-521, got one that is not',
  ],
  'the point at infinity': [
    json({ ...jwk('P-521'), x: zero, y: zero }),
    'answer: expected a point on P-521, got one that is not',
  ],
  'a point of another curve': [json(jwk('P-256')), 'answer: expected crv "P-521", got "P-256"'],
  'another point': [
    json(jwk('P-521')),
    'the answer does not open the sealed key',
    'either something on the way changed the answer, or the sealed key is damaged',
  ],
};

t.test('whatever comes back is no more than unavailable: anybody may have answered', async (t) => {
  const faults = Object.entries(answers).map(async ([title, [listener, reason, hint]]) => {
    const { port } = await serveHttp(t, listener);
    const url = `http://127.0.0.1:${port}`;
    await shows(t, title, url, unavailable(url, reason, hint));
  });
  await Promise.all(faults);
});

t.test('so is a server that cannot be reached', async (t) => {
  const absent = await startTang(t);
  await absent.stop();
  const resetting = await serveBytes(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const reset = `http://127.0.0.1:${resetting.port}`;
  // No name server is asked for a name with an empty label.
  const nameless = 'http://tang..example';
  await Promise.all([
    shows(t, 'refused', absent.url, unavailable(absent.url, 'connection refused')),
    shows(t, 'reset', reset, unavailable(reset, 'connection reset')),
    shows(
      t,
      'no such name',
      nameless,
      unavailable(nameless, 'name tang..example does not resolve (ENOTFOUND)'),
    ),
  ]);
});

t.test('by https the server has to be one that the system trusts', async (t) => {
  const stranger = createAuthority('a stranger').issue({ names: ['127.0.0.1'] });
  const { port } = await serveTls(t, { cert: stranger.certificate, key: stranger.key }, (socket) =>
    socket.end(),
  );
  const url = `https://127.0.0.1:${port}`;
  await shows(
    t,
    'of an unknown CA',
    url,
    unavailable(url, 'certificate of an unknown authority, CN=a stranger'),
  );
});

t.test('a server that comes up 5 s later is waited for', async (t) => {
  const late = await startTang(t);
  const stage = await setStage(t);
  stage.put('data', await seal('tang', { url: late.url, thp: late.thp }, KEY));
  await late.stop();
  const done = stage.shows(t, 'recovered', 'data', {
    status: 0,
    line: new RegExp(`^data: key delivered, opened by tang ${late.url} in \\d+ ms$`),
    gets: Buffer.from(KEY),
  });
  await pause(5000);
  await late.start();
  await done;
});
