import { mkdirSync, readFileSync } from 'node:fs';
import { parseCompact } from '../src/jwe/compact.ts';
import { fetchLuksKey } from '../test/support/command-line.ts';
import { completed } from './harness/expect.ts';
import { bootMachine } from './harness/machine.ts';
import { inUse, notWaitedFor, refused } from './harness/machine-expect.ts';
import { hostLuksKeyServer } from './harness/machine-key-server.ts';
import { NETWORKD, networkdFiles } from './harness/machine-network.ts';
import { machineWith, makeSealable, showBefore, showMounted } from './harness/machine-sealed.ts';
import { IN_THE_GUEST, makeTpm } from './harness/machine-tpm.ts';
import { type Stage, scenario } from './harness/scenario.ts';

function folderIn({ folder }: Stage, name: string): string {
  mkdirSync(`${folder}/${name}`);
  return `${folder}/${name}`;
}

const SHARE = '/root/share.jwe';
/** The network may come up later than the script starts: 5 is worth another try. */
const ASK_FOR_SHARE = `for try in $(seq 30); do
  fetch-luks-key open ${SHARE} >/dev/null; status=$?
  [ $status = 5 ] || break
  sleep 1
done
echo "share: $status"
`;

/** The nested sealed keys, in their order. */
function sharesOf(sealed: string): [tpm2: string, remote: string] {
  const { clevis } = parseCompact(sealed).header as { clevis: { sss: { jwe: [string, string] } } };
  return clevis.sss.jwe;
}

scenario('stolen disk, another TPM', { machine: bootMachine }, async (t, stage) => {
  const disk = makeSealable(stage.folder, 'data');
  const server = await hostLuksKeyServer(t);
  // The worst case: no TPM protects the identity, so that the thief can show it.
  const etc = folderIn(stage, 'etc');
  const invitation = await server.invite('nas');
  const joined = await fetchLuksKey(['join', '--name', 'home', '--etc', etc], invitation);
  t.equal(joined.status, 0, joined.stderr);

  const policy = { t: 2, pins: { tpm2: IN_THE_GUEST, remote: { server: 'home' } } };
  const own = await makeTpm(t, folderIn(stage, 'own'), async (_, tcti) => {
    const args = ['seal', 'sss', JSON.stringify(policy), '--etc', etc];
    const { status, stdout, stderr } = await fetchLuksKey(args, disk.key, { TPM2TOOLS_TCTI: tcti });
    t.equal(status, 0, stderr);
    return { data: stdout };
  });
  // One pin's refusal is enough, and the other is given up. So the thief goes on by hand: he has the server's share alone.
  const [, fromServer] = sharesOf(own.sealed.data);
  const another = await makeTpm(t, folderIn(stage, 'another'), async () => ({}));

  const config = readFileSync(`${etc}/config.yaml`, 'utf8')
    .replaceAll(etc, '/etc/fetch-luks-key')
    .replace(server.url, server.urlInGuest);
  const identity = readFileSync(`${etc}/identity/home`);
  const guest = machineWith(
    [{ name: 'data', sealed: own.sealed.data, options: 'luks,nofail,headless=1', mount: 'nofail' }],
    {
      disks: [disk],
      network: true,
      enable: [NETWORKD],
      files: {
        ...networkdFiles,
        '/etc/fetch-luks-key/config.yaml': {
          content: `${config}volumes: { data: { wait-for-allow: 5s, give-up-after: 30s } }\n`,
        },
        '/etc/fetch-luks-key/identity/home': { content: identity, mode: 0o600 },
        [SHARE]: { content: fromServer },
      },
      script: `${showBefore('data')}${showMounted('/mnt/data')}${ASK_FOR_SHARE}`,
    },
  );
  const first = await stage.boot({ ...guest, tpm: own.state });
  completed(t, first);
  inUse(t, first, 'data', 'tpm2, remote home|remote home, tpm2');

  const early = await stage.boot({ ...guest, tpm: another.state }, first);
  completed(t, early);
  t.match(early.output, /^share: 0$/m, 'nobody has told the server yet: it takes the thief for the machine');
  refused(t, early, 'data', '.*2 of 2 needed: the TPM ');
  notWaitedFor(t, early, 'data');

  t.equal((await server.command('lock', 'nas')).status, 0);
  const stolen = await stage.boot({ ...guest, tpm: another.state }, early);
  completed(t, stolen);
  refused(t, stolen, 'data', '.*2 of 2 needed');
  notWaitedFor(t, stolen, 'data');
  t.match(stolen.output, /^share: 4$/m, 'not even that');
  t.ok(
    server.journal.some((line) => /alert refused: nas from 127\.0\.0\.1/.test(line)),
    'an alert',
    { journal: server.journal },
  );
  const audit = await server.command('audit', 'show', '--json');
  t.match(audit.stdout, /"outcome":"locked"/, 'an audit record');
});
