import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { fetchLuksKey } from '../../support/command-line.ts';
import { BY_STDIN, machineWith } from '../../support/enrolled.ts';
import { startKeyServer } from '../../support/key-server.ts';
import { ownSwtpm } from '../../support/tpm.ts';

t.setTimeout(300_000);

t.test('allow-local-unseal: the TPM alone opens it, or the other hosts do', async (t) => {
  const tpm = await ownSwtpm(t);
  const machine = await machineWith(t, { TPM2TOOLS_TCTI: tpm.tcti });
  const others = { b: await startKeyServer(t), c: await startKeyServer(t) };
  for (const [name, server] of Object.entries(others)) {
    const line = await server.invite('a', '--lease', '0');
    const joined = await fetchLuksKey(['join', '--name', name, '--etc', machine.etc], line);
    t.equal(joined.status, 0, joined.stderr);
  }
  const path = `${machine.etc}/config.yaml`;
  const site = (rest: string) => {
    const servers = readFileSync(path, 'utf8').replace(/^site:[\s\S]*/m, '');
    writeFileSync(path, `${servers}site:\n  host: a\n  url: https://a:7443\n  hosts: [b, c]\n${rest}`);
  };
  site('volumes:\n  data: { give-up-after: 2s, wait-for-allow: 2s }\n');
  const enrolled = await machine.json('enroll', ['--site', '-y', ...BY_STDIN]);
  t.match(enrolled, { policy: '1 of {remote b, remote c}' });
  for (const server of Object.values(others)) await server.stop();
  t.notOk(await machine.opensBySocket(), 'alone');
  for (const server of Object.values(others)) await server.start();

  site('  allow-local-unseal: true\nvolumes:\n  data: { give-up-after: 2s, wait-for-allow: 2s }\n');
  const { status, stdout, stderr } = await machine.command('reseal', [], '');
  t.equal(status, 0, stderr);
  t.match(stdout, /1 of \{tpm2, 1 of \{remote b, remote c\}\}, keyslot 1 as before/);
  for (const server of Object.values(others)) await server.stop();
  t.ok(await machine.opensBySocket(), 'by the TPM alone');
  for (const server of Object.values(others)) await server.start();
  tpm.extend(7);
  t.ok(await machine.opensBySocket(), 'by the others alone');
});
