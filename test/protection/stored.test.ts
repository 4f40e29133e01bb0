import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import t, { type Test } from 'tap';
import { identityToPem, makeIdentity } from '../../src/identity/identity.ts';
import { random } from '../../src/os/random.ts';
import { protectionOf } from '../../src/protection/stored.ts';
import { ownSwtpm } from '../support/tpm.ts';

/** What systemd-creds itself writes, on a machine whose host key is its own. */
function encrypted(t: Test, ...options: string[]): Buffer {
  const folder = `${t.testdir()}/var`;
  mkdirSync(folder, { recursive: true });
  const script = 'mount --bind "$1" /var/lib/systemd && shift && exec systemd-creds encrypt "$@" - -';
  const wrapper = ['--mount', '/bin/sh', '-c', script, 'sh', folder];
  return execFileSync('/usr/bin/unshare', [...wrapper, '--name=test', ...options], {
    input: 'secret',
    stdio: ['pipe', 'pipe', 'ignore'],
  });
}

t.test('a key as it is', async (t) => {
  t.equal(protectionOf(identityToPem(makeIdentity('nas', random))), 'none');
});

t.test('encrypted with the host key', async (t) => {
  t.equal(protectionOf(encrypted(t, '--with-key=host')), 'host key on the same disk');
});

t.test('encrypted with a key of zeros', async (t) => {
  t.equal(protectionOf(encrypted(t, '--with-key=tpm2-absent')), 'none');
});

t.test('encrypted with the TPM, alone and with the host key', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const tpm = ['--tpm2-pcrs=', `--tpm2-device=${tcti}`];
  t.equal(protectionOf(encrypted(t, '--with-key=tpm2', ...tpm)), 'tpm2');
  t.equal(protectionOf(encrypted(t, '--with-key=host+tpm2', ...tpm)), 'tpm2 and host key');
});

t.test('anything else', async (t) => {
  t.equal(protectionOf(Buffer.from('bm90aGluZyB0aGF0IGlzIGtub3du')), 'unknown');
  t.equal(protectionOf(Buffer.alloc(0)), 'unknown');
});
