import { documented } from '../test/support/recovery-page.ts';
import { bootContainer } from './harness/container.ts';
import { completed, delivered } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { invites, KEY_SERVER_UNIT } from './harness/inner-key-server.ts';
import { lineOf } from './harness/journal.ts';
import { keyServerLayer } from './harness/product.ts';
import { scenario } from './harness/scenario.ts';
import { atTerminal } from './harness/somebody.ts';
import { innerTang, TANG_UNIT } from './harness/tang.ts';
import { crypttabLine, makeDisk, opensVolume } from './harness/volumes.ts';

const LOST = 'The key server is lost';
const PASSPHRASE = '/boot-test/passphrase';
const KEYFILE = '/root/recovery-key';
const PROMPT = 'Passphrase of the backup';
const TYPED = 'of the backup';

/** What comes next is another host, with the package and nothing else. */
const LOSE = `systemctl disable --now ${KEY_SERVER_UNIT}
rm -r /var/lib/private/luks-key-server /var/lib/luks-key-server
`;

scenario('key server lost: restored, then for good', { container: bootContainer }, async (t, stage) => {
  const layers = [await keyServerLayer(stage.suite)];
  const disk = makeDisk(stage.folder, 'data');
  const tang = innerTang(stage.folder);
  const guest = { ...plainGuest, layers };
  // A container has no TPM.
  const sealing = { "tpm2 '{}'": `tang '{"url": "${tang.url}"}' --yes`, BACKUP: 'sealed' };
  const [seals, backsUp, restoresSealed] = documented(LOST, 'backup.jwe', sealing).split('\n');
  const types = [
    [PROMPT, TYPED],
    ['Again', TYPED],
  ] as const;
  const first = await stage.boot({
    ...guest,
    disks: [disk],
    enable: [TANG_UNIT, KEY_SERVER_UNIT],
    files: {
      ...tang.files(0),
      '/etc/crypttab': { content: crypttabLine(disk, 'luks,nofail,headless=1', 'none') },
      [PASSPHRASE]: { content: disk.key },
    },
    script: `set -eu
cd /root
${invites('nas')} | fetch-luks-key join --name home
printf %s "$(fetch-luks-key recovery-key data --unlock-key-file ${PASSPHRASE})" >${KEYFILE}
fetch-luks-key enroll data --remote home --unlock-key-file ${PASSPHRASE}
rm ${PASSPHRASE}
echo 'volumes: { data: { give-up-after: 2s } }' >>/etc/fetch-luks-key/config.yaml
${atTerminal('luks-key-server backup >typed', types)}
cp "$(cat typed)" typed
${seals}
(${backsUp}) >sealed
cp "$(cat sealed)" sealed
${LOSE}`,
  });
  completed(t, first);
  t.equal(first.status, 0, 'enrolled and backed up', { output: first.output });

  const opens = `${opensVolume(disk)}\n`;
  const [restores, allows] = documented(LOST, 'allow', { BACKUP: 'typed' }).split('\n');
  const reseals = documented(LOST, 'reseal', { KEYFILE, '--tpm2': `--tang ${tang.url} --yes` });
  const second = await stage.boot(
    {
      ...guest,
      script: `set -eu
cd /root
${atTerminal(`${restores}`, [[PROMPT, TYPED]])}
${allows}
${opens}echo 'restored'
${LOSE}
${restoresSealed}
systemctl start ${KEY_SERVER_UNIT}
${allows}
${opens}echo 'restored again'
${LOSE}
${reseals}
`,
    },
    first,
  );
  completed(t, second);
  t.equal(second.status, 0, 'restored and sealed anew', { output: second.output });
  t.match(second.output, /^boot: data: .*gave up/m, 'without its server it does not open');
  t.match(
    second.output,
    /^data: the key opens it\nrestored\n(.*\n)*data: the key opens it\nrestored again$/m,
  );
  t.match(second.output, /^resealed data in .*: tang .*, the socket opens it$/m);

  const third = await stage.boot({ ...guest, script: opensVolume(disk) }, second);
  completed(t, third);
  delivered(t, third);
  t.equal(
    lineOf(third.journal, /heads of its audit log/),
    null,
    'the daemon writes again what it wrote before',
  );
});
