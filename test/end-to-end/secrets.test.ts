import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { activate } from '../support/activation.ts';
import { privateMounts } from '../support/private-mounts.ts';
import { processesWith, type Seen } from '../support/processes.ts';
import { run } from '../support/run.ts';
import { answer, serveHttp } from '../support/servers.ts';
import { startTang } from '../support/tang.ts';
import { ownSwtpm } from '../support/tpm.ts';

const root = resolve(import.meta.dirname, '../..');
const executable = join(root, 'dist/fetch-luks-key');

const tang = await startTang(t);
const swtpm = await ownSwtpm(t);
const folder = mkdtempSync(join(root, '.tap/secrets-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const etc = join(folder, 'etc');
mkdirSync(join(etc, 'volumes'), { recursive: true });

/** The ways in which a careless program would write it down. */
function spellings(secret: Buffer): string[] {
  const base64 = secret.toString('base64');
  return [
    secret.toString('latin1'),
    secret.toString('hex'),
    base64,
    base64.replace(/=+$/, ''),
    secret.toString('base64url'),
  ];
}

/** Looks at every process with `marker` in its environment, as often as it can, until told to stop. */
function watchProcesses(t: Test, markers: readonly string[]) {
  const seen = new Map<string, Seen>();
  let watching = true;
  const done = (async () => {
    while (watching) {
      for (const marker of markers)
        for (const one of processesWith(marker)) seen.set(`${one.pid} ${one.arguments}`, one);
      await new Promise((next) => setImmediate(next));
    }
    return [...seen.values()];
  })();
  const stop = () => {
    watching = false;
    return done;
  };
  t.teardown(stop);
  return { stop };
}

t.test('no secret is in the journal, an argument, an environment, a file or an error', async (t) => {
  const mounts = privateMounts(mkdtempSync(join(folder, 'mounts-')));
  const marker = `FLK_MARKER=${randomBytes(8).toString('hex')}`;
  const [name = '', value = ''] = marker.split('=');
  const environment = { TPM2TOOLS_TCTI: swtpm.tcti, [name]: value };
  const program = [...mounts.wrapper, executable];
  const socket = await activate(['--etc', etc, '--crypttab', join(folder, 'crypttab')], {
    environment,
    program,
  });
  t.teardown(() => socket.stop());
  const processes = watchProcesses(t, [marker, swtpm.tcti]);

  // Text, as keys should be, so that it would survive every way of being written down.
  const secret = randomBytes(48);
  const text = Buffer.from(secret.toString('base64url'));
  const tangConfig = { url: tang.url, thp: tang.thp };
  const configurations = {
    tpm2: ['tpm2', {}],
    stock: ['tpm2', { clevis: true, pcr_bank: 'sha256', pcr_ids: '7' }],
    sss: ['sss', { t: 2, pins: { tpm2: {}, tang: tangConfig } }],
    tang: ['tang', tangConfig],
  } as const;
  let urlAnswers = 200;
  const http = await serveHttp(t, (...call) => answer(urlAnswers, text)(...call));
  const url = `http://127.0.0.1:${http.port}/key`;
  const plain = { url, 'allow-plaintext': true, 'give-up-after': '2s' };
  writeFileSync(join(etc, 'config.yaml'), JSON.stringify({ volumes: { url: plain } }));
  const errors: string[] = [];
  for (const [volume, [pin, config]] of Object.entries(configurations)) {
    const sealed = await run([...program, 'seal', pin, JSON.stringify(config)], text, environment);
    errors.push(sealed.stderr);
    writeFileSync(join(etc, 'volumes', `${volume}.jwe`), sealed.stdout);
    t.ok((await socket.askAlone(volume)).bytes.equals(text), `${volume}: the key came`);
  }
  t.ok((await socket.askAlone('url')).bytes.equals(text), 'url: the key came');
  const contentKey = contentKeyOf('stock');
  swtpm.extend(7);
  for (const volume of ['tpm2', 'stock', 'sss'])
    t.equal((await socket.askAlone(volume)).status, 4, `${volume}: refused`);
  await tang.stop();
  writeFileSync(
    join(etc, 'config.yaml'),
    JSON.stringify({ volumes: { url: plain, tang: { 'give-up-after': '2s' } } }),
  );
  t.equal((await socket.askAlone('tang')).status, 5, 'tang: unavailable');
  for (const status of [403, 500]) {
    urlAnswers = status;
    t.equal(
      (await socket.askAlone('url')).status,
      status === 403 ? 4 : 5,
      `url: ${status}, with the key in its body`,
    );
  }
  await swtpm.stop();

  const watched = await processes.stop();
  t.ok(
    watched.some(({ arguments: a }) => a.includes('tpm2_unseal')),
    'the watch saw the tools at work',
  );
  const places: [string, string][] = [
    ['journal', socket.journal.join('\n')],
    ['errors', errors.join('\n')],
    ...watched.map(({ arguments: a, environment: e }): [string, string] => [a, `${a} ${e}`]),
    ...mounts.files().map((file): [string, string] => [file, readFileSync(file, 'latin1')]),
  ];
  const sought = [...spellings(text), ...spellings(secret), ...spellings(contentKey)];
  for (const [place, content] of places) {
    for (const spelling of sought) if (content.includes(spelling)) t.fail(`${place} has it as ${spelling}`);
  }
  t.ok(places.length > 10, `${places.length} places were searched`);
});

/** The content key of a stock sealed key, got the way that `clevis decrypt` gets it. */
function contentKeyOf(volume: string): Buffer {
  const [head = ''] = readFileSync(join(etc, 'volumes', `${volume}.jwe`), 'utf8').split('.');
  const { tpm2 } = JSON.parse(Buffer.from(head, 'base64url').toString()).clevis;
  const file = (suffix: string) => join(folder, suffix);
  writeFileSync(file('pub'), Buffer.from(tpm2.jwk_pub, 'base64url'));
  writeFileSync(file('priv'), Buffer.from(tpm2.jwk_priv, 'base64url'));
  swtpm.run('tpm2_createprimary', ['-Q', '-C', 'o', '-g', 'sha256', '-G', 'ecc', '-c', file('primary')]);
  swtpm.flush();
  swtpm.run('tpm2_load', [
    '-Q',
    '-C',
    file('primary'),
    '-u',
    file('pub'),
    '-r',
    file('priv'),
    '-c',
    file('object'),
  ]);
  swtpm.flush();
  const jwk = swtpm.run('tpm2_unseal', ['-c', file('object'), '-p', 'pcr:sha256:7']).toString();
  swtpm.flush();
  return Buffer.from(JSON.parse(jwk).k, 'base64url');
}

t.test('the watch finds a secret where there is one', async (t) => {
  const marker = `FLK_MARKER=${randomBytes(8).toString('hex')}`;
  const processes = watchProcesses(t, [marker]);
  await run(['/bin/sh', '-c', 'sleep 0.5', 'hunter2'], Buffer.alloc(0), {
    [marker.split('=')[0] ?? '']: marker.split('=')[1] ?? '',
  });
  const watched = await processes.stop();
  t.ok(watched.some((one) => one.arguments.includes('hunter2')));
});
