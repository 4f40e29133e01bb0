import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import t from 'tap';
import { fetchLuksKey } from '../support/command-line.ts';
import { machineWith } from '../support/enrolled.ts';
import { opens, overwrite, PASSPHRASE } from '../support/luks.ts';
import { documented } from '../support/recovery-page.ts';

t.setTimeout(300_000);

t.test('jose and tar open it, and the header in it opens the volume again', async (t) => {
  const { etc, crypttab, image, configure } = await machineWith(t);
  mkdirSync(`${etc}/identity`, { recursive: true });
  writeFileSync(`${etc}/identity/home`, 'secret');
  for (const name of ['home.pem', 'client[1].key', 'client.crt']) writeFileSync(`${etc}/${name}`, name);
  const pin = `sha256/${'A'.repeat(43)}`;
  const client = { 'client-certificate': `${etc}/client.crt`, 'client-key': `${etc}//client[1].key` };
  configure({
    servers: { home: { url: 'https://127.0.0.1:1', pin, identity: `${etc}/./home.pem` } },
    volumes: { web: { url: 'https://127.0.0.1:1/key', ...client } },
  });
  const folder = t.testdir({ out: {} });
  const file = `${folder}/data.backup`;
  // The folder as seen from here.
  const relativeEtc = relative(process.cwd(), etc);
  const args = [
    'backup',
    'data',
    file,
    '--etc',
    relativeEtc,
    '--crypttab',
    crypttab,
    '--passphrase-file',
    '-',
  ];
  const { status, stderr } = await fetchLuksKey(args, 'a long one\n');
  t.equal(status, 0, stderr);
  t.match(stderr, /^note: at its prompt jose\(1\) takes no spaces, .*\n$/);
  t.equal(statSync(file).mode & 0o777, 0o600);

  const passphrase = `${folder}/passphrase`;
  writeFileSync(passphrase, 'a long one');
  const out = `${folder}/out`;
  const opensIt = documented('The header is damaged', 'PASSPHRASE', { FILE: file, PASSPHRASE: passphrase });
  execFileSync('/bin/sh', ['-c', `cd ${out}; ${opensIt}`]);
  const names = execFileSync('find', [out, '-type', 'f', '-printf', '%P\n']).toString();
  t.match(names, /^header\.img$/m);
  t.match(names, /\/config\.yaml$/m);
  t.notMatch(names, /identity|home\.pem|client\[1\]\.key/, 'what this machine is known by stays on it');
  t.match(names, /\/client\.crt$/m);
  t.equal(readFileSync(`${out}/crypttab`, 'utf8'), readFileSync(crypttab, 'utf8'));

  overwrite(image.path, 0, Buffer.alloc(1024 * 1024));
  t.notOk(opens(image.path, PASSPHRASE), 'the header is lost');
  const restore = ['luksHeaderRestore', '-q', image.path, '--header-backup-file', `${out}/header.img`];
  execFileSync('cryptsetup', restore);
  t.ok(opens(image.path, PASSPHRASE));

  const typed = await fetchLuksKey(args.with(2, `${folder}/typed.backup`), 'a-long-one\n');
  t.match(typed, { status: 0, stderr: '' }, 'jose takes this one at its prompt');

  const again = await fetchLuksKey(args, 'another\n');
  t.equal(again.status, 4, 'an existing file stays');
  t.match(again.stderr, /is there already/);
});
