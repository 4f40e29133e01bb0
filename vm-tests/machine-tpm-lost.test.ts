import { mkdirSync } from 'node:fs';
import { documented } from '../test/support/recovery-page.ts';
import { completed } from './harness/expect.ts';
import { inOrder, lineOf } from './harness/journal.ts';
import { bootMachine } from './harness/machine.ts';
import { handler, inUse, mountedAt, tpmIsClean, unlocked } from './harness/machine-expect.ts';
import { beside, hostLuksKeyServer, listenToGuest, tellHost } from './harness/machine-key-server.ts';
import { NETWORKD, networkdFiles } from './harness/machine-network.ts';
import { machineWith, makeSealable, SHOW_TPM, showMounted } from './harness/machine-sealed.ts';
import { makeTpm } from './harness/machine-tpm.ts';
import { scenario } from './harness/scenario.ts';
import { atTerminal, prompted, SOMEBODY, somebody } from './harness/somebody.ts';

const MAINBOARD = 'A new mainboard, or the TPM was cleared';
/** It cannot show who it is before it has joined anew. */
const KEEPALIVE = /^fetch-luks-key-keepalive\.service$/;
const MOUNTED = showMounted('/mnt/data');
const DEVICE = '/dev/disk/by-id/virtio-data';
const NEW = 'remembered';
const PASSPHRASE = '/boot-test/passphrase';
const INVITATION = '/boot-test/invitation';
const KEYFILE = '/boot-test/recovery-key';
/** The script waits for the host. */
const SCRIPT_SECONDS = 300;

const wordsOf = (line = '') => line.replace(/ +#.*/, '').split(' ').slice(1);

scenario('new mainboard, 2 of {tpm2, remote}', { machine: bootMachine }, async (t, stage) => {
  const disk = makeSealable(stage.folder, 'data');
  const tpm = async (name: string) => {
    mkdirSync(`${stage.folder}/${name}`);
    return (await makeTpm(t, `${stage.folder}/${name}`, async () => ({}))).state;
  };
  const [before, after] = [await tpm('before'), await tpm('after')];
  const server = await hostLuksKeyServer(t);
  const { files, ...guest } = machineWith([{ name: 'data', sealed: null, mount: '_netdev' }], {
    disks: [disk],
    network: true,
    enable: [NETWORKD, SOMEBODY],
    watchdogSeconds: SCRIPT_SECONDS,
  });

  const first = await stage.boot({
    ...guest,
    tpm: before,
    enable: [NETWORKD, SOMEBODY],
    files: {
      ...files,
      ...networkdFiles,
      ...somebody([disk.key.toString()]),
      '/etc/crypttab': { content: `data ${DEVICE} none luks\n` },
      [PASSPHRASE]: { content: disk.key },
      [INVITATION]: { content: server.invitation },
    },
    script: `set -eu
/usr/lib/systemd/systemd-networkd-wait-online --timeout=60
fetch-luks-key join --name home <${INVITATION}
fetch-luks-key recovery-key data --unlock-key-file ${PASSPHRASE}
fetch-luks-key enroll data --tpm2 --remote home --unlock-key-file ${PASSPHRASE}
rm ${INVITATION} ${PASSPHRASE}
`,
  });
  completed(t, first);
  t.equal(first.status, 0, 'joined and enrolled', { output: first.output });
  const [recoveryKey = ''] = /^[a-z]{8}(-[a-z]{8}){7}$/m.exec(first.output) ?? [];

  const put = { 'https://keys.example:7443': server.urlInGuest };
  const [invite, join, allow] = documented(MAINBOARD, 'join', put).split('\n');
  const invited = await server.command(...wordsOf(invite));
  const reseal = documented(MAINBOARD, 'reseal', { KEYFILE });
  const remembers = documented('The passphrase is forgotten', 'KEYFILE', { KEYFILE, DEVICE });
  const told = await listenToGuest(t);
  const second = await beside(
    stage.boot(
      {
        ...guest,
        tpm: after,
        enable: [],
        files: {
          ...somebody([recoveryKey]),
          [KEYFILE]: { content: recoveryKey },
          [INVITATION]: { content: invited.stdout },
        },
        script: `${documented('Recovery', 'journalctl')}
${MOUNTED}
(${join}
) <${INVITATION} | tee /run/joined
${tellHost(told, '$(sed -n "s/^  fingerprint *//p" /run/joined)')}
until ${reseal}; do sleep 5; done
${atTerminal(remembers, [
  ['new passphrase', NEW],
  ['[Vv]erify', NEW],
])}
printf %s ${NEW} | cryptsetup open --test-passphrase --key-file=- ${DEVICE} && echo 'remembered: opens'
`,
      },
      first,
    ),
    async (signal) => {
      const fingerprint = await told.heardOf('sha256/', signal);
      const allowed = await server.command(...wordsOf(allow?.replace('sha256/…', fingerprint)));
      t.equal(allowed.status, 0, allowed.stderr);
    },
  );
  completed(t, second, KEEPALIVE);
  t.not(lineOf(second.journal, handler('data', '.*2 of 2 needed')), null, 'another TPM opens nothing');
  t.ok(inOrder(second.journal, prompted('data'), unlocked('data')), 'the recovery key at the prompt does');
  t.ok(inOrder(second.journal, unlocked('data'), mountedAt('/mnt/data')));
  t.match(second.output, /^ +now +tpm2 would not: /m, 'status says which pin');
  t.match(
    second.output,
    /^breaks-boot: data: needs 2 of \{tpm2, remote home\}.*\[will-not-open\]$/m,
    'and doctor',
  );
  t.match(second.output, /^remembered: opens$/m);
  t.match(second.output, /^resealed data in .*: 2 of \{tpm2, remote home\}, .*, the socket opens it$/m);

  const third = await stage.boot(
    { ...guest, tpm: after, enable: [], files: {}, script: `${SHOW_TPM}${MOUNTED}` },
    second,
  );
  completed(t, third);
  inUse(t, third, 'data', 'tpm2, remote home|remote home, tpm2');
  t.equal(lineOf(third.journal, prompted('data')), null, 'nobody is asked');
  tpmIsClean(t, third);
});
