import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { keyPinText } from '../../src/base/key-pin.ts';
import { identityToPem, makeIdentity } from '../../src/identity/identity.ts';
import { random } from '../../src/os/random.ts';
import { startKeyServer } from '../support/key-server.ts';

t.setTimeout(300_000);

t.test("the command line has the last word, and the rest is the file's", async (t) => {
  const folder = t.testdir({});
  const store = `${folder}/keys.db`;
  const config = { listen: '192.0.2.1:1', state: '/nowhere', store, socket: '/nowhere/socket' };
  writeFileSync(`${folder}/config.yaml`, JSON.stringify(config));
  const server = await startKeyServer(t, '--config', `${folder}/config.yaml`);
  t.match(await server.command('list', '--json'), { status: 0, stdout: '{"machines":[]}\n' });
  t.equal(readFileSync(store).subarray(0, 15).toString(), 'SQLite format 3');
});

t.test('an identity that was given is the one that machines are told', async (t) => {
  const folder = t.testdir({});
  const identity = makeIdentity('keys.example', random);
  writeFileSync(`${folder}/identity.pem`, identityToPem(identity), { mode: 0o640 });
  writeFileSync(`${folder}/config.yaml`, `identity: ${folder}/identity.pem\n`);
  const server = await startKeyServer(t, '--config', `${folder}/config.yaml`);
  const pin = keyPinText(identity.pinSha256);
  t.match(server.journal.at(-1), `as ${pin}`);
  t.match(await server.invite('nas'), `#pin=${pin.slice('sha256/'.length)}&name=nas&`);
  t.equal(await server.stop(), 0);
  chmodSync(`${folder}/identity.pem`, 0o644);
  await t.rejects(server.start(), /ended with 3: .*identity\.pem: everybody can read or write it/s);
});

t.test('what it does not start with', async (t) => {
  const folder = t.testdir({ 'config.yaml': '# nothing\nwebhook: []\n' });
  const start = (file: string) => startKeyServer(t, '--config', `${folder}/${file}`);
  await t.rejects(
    start('config.yaml'),
    /ended with 3: .*config\.yaml:2: webhook: expected one of the keys .*, got "webhook"$/s,
  );
  await t.rejects(start('none'), /ended with 3: .*none: no such file$/s);
  writeFileSync(`${folder}/config.yaml`, 'metrics: { listen: 192.0.2.1:9743 }');
  await t.rejects(
    start('config.yaml'),
    /ended with 5: .*192\.0\.2\.1 port 9743: cannot listen \(EADDRNOTAVAIL\)$/s,
  );
});
