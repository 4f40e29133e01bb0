import t from 'tap';
import { alertJson, signedHeaders, webhookKey } from '../../../src/server/alerts/message.ts';

t.test('a message that Standard Webhooks gives as its example', (t) => {
  const key = webhookKey('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
  if (key === null) throw new Error('no key');
  const body = Buffer.from('{"test": 2432232314}');
  t.strictSame(signedHeaders(key, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1_614_265_330_999, body), {
    'content-type': 'application/json',
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  });
  t.end();
});

t.test('secrets', (t) => {
  const base64 = (bytes: number) => Buffer.alloc(bytes, 7).toString('base64');
  for (const good of [base64(24), `${base64(64)}\n`, `whsec_${base64(32)}`]) {
    t.not(webhookKey(good), null, good);
  }
  for (const wrong of [
    '',
    'secret',
    base64(23),
    base64(65),
    `${base64(32)} ${base64(32)}`,
    '\0'.repeat(32),
  ]) {
    t.equal(webhookKey(wrong), null, JSON.stringify(wrong));
  }
  t.end();
});

t.test('what is told', (t) => {
  const alert = {
    kind: 'refused',
    machine: 'nas',
    from: '192.0.2.1',
    requestId: 'id',
    text: 'locked',
  } as const;
  const head = {
    seq: 7,
    hash: Buffer.alloc(32, 1),
    wallMs: 5,
    signer: Buffer.alloc(32),
    signature: Buffer.of(2),
  };
  t.strictSame(alertJson(alert, 0, head), {
    kind: 'refused',
    when: '1970-01-01T00:00:00.000Z',
    machine: 'nas',
    from: '192.0.2.1',
    text: 'locked',
    'request-id': 'id',
    'audit-head': {
      seq: 7,
      hash: head.hash.toString('base64url'),
      'wall-ms': 5,
      signer: head.signer.toString('base64url'),
      signature: 'Ag',
    },
  });
  t.equal(alertJson(alert, 0, null)['audit-head'], null);
  t.end();
});
