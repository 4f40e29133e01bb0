import { chmodSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { identityToPem, makeIdentity } from '../../src/identity/identity.ts';
import { random } from '../../src/os/random.ts';
import { fetchLuksKey } from '../support/command-line.ts';
import type { KeyServerProcess } from '../support/key-server.ts';
import { KEY, type Patient } from '../support/patient.ts';
import { parsecSealedKey } from '../support/sealing.ts';
import { startSwtpm } from '../support/swtpm.ts';
import type { SetUp } from './set-up.ts';

/** The machine joins, and its volume is sealed by the server alone, in a file, which comes before its token. */
export async function joins(
  patient: Patient,
  server: KeyServerProcess,
  name: string,
  environment: Record<string, string> = {},
): Promise<void> {
  const join = ['join', '--name', 'home', '--etc', patient.etc];
  await fetchLuksKeyWell(join, await server.invite(name), environment);
  const args = ['seal', 'remote', '{"server":"home"}', '--etc', patient.etc];
  patient.write('etc/volumes/data.jwe', await fetchLuksKeyWell(args, KEY, environment));
  patient.options('data', 'luks,_netdev');
}

async function fetchLuksKeyWell(
  args: readonly string[],
  input: string,
  environment: Record<string, string> = {},
): Promise<string> {
  const { status, stdout, stderr } = await fetchLuksKey(args, input, environment);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** @param server runs, and runs again afterwards */
export function serverSetUps(server: () => KeyServerProcess): SetUp[] {
  let count = 0;
  const joined = async (patient: Patient, environment = {}) => {
    const name = `patient-${++count}`;
    await joins(patient, server(), name, environment);
    return name;
  };
  const hostOfSite = async (patient: Patient) => {
    await joined(patient);
    const text = readFileSync(`${patient.etc}/config.yaml`, 'utf8');
    patient.config(`${text}site: { host: patient, url: "https://patient:7443", hosts: [home] }\n`);
  };
  const identityOf = (patient: Patient) => `${patient.etc}/identity/home`;
  return [
    {
      title: 'locked by an operator',
      finds: 'machine-locked',
      async breaks(patient) {
        await server().command('lock', await joined(patient));
      },
    },
    {
      title: 'locked, and no other pin',
      finds: 'will-not-open',
      says: /needs remote home, and would not open now: remote home: this machine is locked$/,
      async breaks(patient) {
        await server().command('lock', await joined(patient));
      },
    },
    {
      title: 'revoked',
      finds: 'machine-revoked',
      async breaks(patient) {
        await server().command('revoke', await joined(patient), '--yes');
      },
    },
    {
      title: 'the server has never heard of this machine',
      finds: 'machine-unknown',
      says: /the server does not know this machine/,
      async breaks(patient) {
        await joined(patient);
        writeFileSync(identityOf(patient), identityToPem(makeIdentity('stranger', random)));
      },
    },
    {
      title: 'it was sealed by the same server for another machine',
      finds: 'will-not-open',
      says: /the server has no such key/,
      async breaks(patient) {
        await joined(patient);
        const sealed = readFileSync(`${patient.etc}/volumes/data.jwe`, 'utf8');
        // This machine anew, under another name.
        await fetchLuksKeyWell(['leave', 'home', '--etc', patient.etc], '');
        await joined(patient);
        patient.write('etc/volumes/data.jwe', sealed);
      },
    },
    {
      title: 'the machine has left the server',
      finds: 'will-not-open',
      says: /no server in config\.yaml has the key that it names/,
      async breaks(patient) {
        await joined(patient);
        await fetchLuksKeyWell(['leave', 'home', '--etc', patient.etc], '');
      },
    },
    {
      title: 'the server is down',
      finds: 'server-unreachable',
      async breaks(patient, _ward, t) {
        await joined(patient);
        await server().stop();
        t.teardown(() => server().start());
      },
    },
    {
      title: 'another server at the same address',
      finds: 'server-other-key',
      async breaks(patient) {
        await joined(patient);
        const text = readFileSync(`${patient.etc}/config.yaml`, 'utf8');
        patient.config(text.replace(/sha256\/[\w-]{43}/, `sha256/${'A'.repeat(43)}`));
      },
    },
    {
      title: 'a site’s host whose key server keeps its keys on the volume',
      finds: 'server-behind-volume',
      says: /^data: this host’s key server keeps its keys on it/,
      async breaks(patient) {
        await hostOfSite(patient);
        patient.write('fstab', '/dev/sda1 / ext4\n/dev/mapper/data /var ext4 _netdev\n');
      },
    },
    {
      title: 'a site’s host whose key server starts after the volume',
      finds: 'server-behind-volume',
      says: /as it has no _netdev/,
      async breaks(patient) {
        await hostOfSite(patient);
        patient.options('data', 'luks');
      },
    },
    {
      title: 'the keep-alive daemon is not enabled',
      finds: 'keepalive-off',
      async breaks(patient) {
        await joined(patient);
        patient.disable('fetch-luks-key-keepalive.service', 'multi-user.target');
      },
    },
    {
      title: 'what starts the action is masked',
      finds: 'act-off',
      says: /fetch-luks-key-act@revoked\.path: it is masked/,
      async breaks(patient) {
        await joined(patient);
        patient.config(`${readFileSync(`${patient.etc}/config.yaml`, 'utf8')}on-revoked: [suspend]\n`);
        patient.mask('fetch-luks-key-act@revoked.path');
      },
    },
    {
      title: 'nobody is there to act',
      finds: 'act-off',
      says: /fetch-luks-key-act@locked\.service: it is not there/,
      async breaks(patient) {
        await joined(patient);
        patient.config(`${readFileSync(`${patient.etc}/config.yaml`, 'utf8')}on-locked: [close]\n`);
        patient.remove('units/fetch-luks-key-act@.service');
      },
    },
    {
      title: 'the identity is not there',
      finds: 'identity-unusable',
      async breaks(patient) {
        await joined(patient);
        rmSync(identityOf(patient));
      },
    },
    {
      title: 'the identity is readable for others',
      finds: 'identity-unusable',
      says: /expected mode 0600, got 0640/,
      async breaks(patient) {
        await joined(patient);
        chmodSync(identityOf(patient), 0o640);
      },
    },
    {
      title: 'the identity is damaged',
      finds: 'identity-unusable',
      async breaks(patient, ward) {
        await joined(patient, { TPM2TOOLS_TCTI: ward.tpm.tcti });
        truncateSync(identityOf(patient), 200);
      },
    },
    {
      title: 'the identity is protected by another TPM',
      finds: 'identity-unusable',
      says: /identity\/home: the TPM has no storage key at 0x81000001/,
      async breaks(patient, _ward, t) {
        const other = await startSwtpm();
        t.teardown(() => other.remove());
        await joined(patient, { TPM2TOOLS_TCTI: other.tcti });
        const blank = await startSwtpm();
        t.teardown(() => blank.remove());
        patient.tcti = blank.tcti;
      },
    },
    {
      title: 'this machine is known to its server by a key in Parsec',
      finds: 'parsec-too-late',
      async breaks(patient) {
        await joined(patient);
        patient.options('data', 'luks');
        writeFileSync(identityOf(patient), parsecSealedKey);
      },
    },
    {
      title: 'the identity is on the disk as it is',
      finds: 'identity-unprotected',
      says: /is protected by nothing/,
      async breaks(patient) {
        await joined(patient);
      },
    },
  ];
}
