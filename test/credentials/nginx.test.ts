import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { fetchLuksKey } from '../support/command-line.ts';
import { portToKeep } from '../support/ports.ts';
import { setStage } from '../support/stage.ts';
import { startTang } from '../support/tang.ts';
import { ownFolder } from '../support/tpm.ts';

t.setTimeout(120_000);

/** What docs/CREDENTIALS.md tells to write, beside what a test needs to have all of nginx in one folder. */
const configuration = (folder: string, port: number) => `daemon off;
pid ${folder}/pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${folder}/cert.pem;
    ssl_certificate_key ${folder}/credentials/tls-key;
    location / { return 200 "served\\n"; }
  }
}
`;

function startNginx(t: Test, folder: string): { child: ChildProcess; errors: Promise<string> } {
  const child = spawn('/usr/sbin/nginx', ['-p', folder, '-c', `${folder}/nginx.conf`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(() => child.kill());
  if (child.stderr === null) throw new Error('no pipe');
  return { child, errors: text(child.stderr) };
}

/** @returns the page; null while nobody listens */
function fetched(port: number, ca: Buffer): Promise<string | null> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, ca, servername: 'web.example' }, (response) => {
      text(response).then(resolve, reject);
    }).once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve(null);
      else reject(error);
    });
  });
}

t.test('nginx serves with a TLS key that is nowhere on the disk, and not without it', async (t) => {
  const tang = await startTang(t);
  const stage = await setStage(t, { standardInput: true });
  const folder = ownFolder(t);
  const key = `${folder}/tls.key`;
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const subject = ['-subj', '/CN=web.example', '-addext', 'subjectAltName=DNS:web.example'];
  execFileSync('openssl', [...request, ...subject, '-keyout', key, '-out', `${folder}/cert.pem`], {
    stdio: 'ignore',
  });
  const config = JSON.stringify({ url: tang.url, thp: tang.thp });
  const sealed = await fetchLuksKey(
    ['seal', '--credential', 'nginx.service/tls-key', '--etc', stage.etc, 'tang', config],
    await text(createReadStream(key)),
  );
  t.equal(sealed.status, 0, sealed.stderr);
  execFileSync('shred', ['-u', key]);

  const port = await portToKeep();
  writeFileSync(`${folder}/nginx.conf`, configuration(folder, port));
  mkdirSync(`${folder}/credentials`, { mode: 0o700 });
  const without = startNginx(t, folder);
  t.not((await once(without.child, 'exit'))[0], 0, 'it does not start without its key');
  t.match(await without.errors, /credentials\/tls-key.*No such file/);

  // As systemd does it: what comes becomes a file that nobody can write.
  const secret = await stage.ask(Buffer.from('\x001a/unit/nginx.service/tls-key'));
  writeFileSync(`${folder}/credentials/tls-key`, secret, { mode: 0o400 });
  const { child } = startNginx(t, folder);
  const ca = readFileSync(`${folder}/cert.pem`);
  let page: string | null = null;
  while (page === null && child.exitCode === null) {
    page = await fetched(port, ca);
    if (page === null) await pause(50);
  }
  t.equal(page, 'served\n', 'by the key that belongs to the certificate');
  const ended = once(child, 'exit');
  child.kill('SIGQUIT');
  await ended;
});
