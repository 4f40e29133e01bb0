import type { Finding } from '../src/doctor/finding.ts';
import { type Break, breaks, NAMES } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import type { Guest } from './harness/guest.ts';
import { IN_THE_GUEST, makeTpm } from './harness/machine-tpm.ts';
import { mountOnVolume } from './harness/mounts.ts';
import { NETWORK_UNIT, networkFiles } from './harness/network.ts';
import { scenario } from './harness/scenario.ts';
import { jwePath, sealedGuests } from './harness/sealed.ts';
import { TANG_UNIT } from './harness/tang.ts';

/** What other scenarios boot, done to a machine that runs and is right, one after the other: each is undone. */

/** A copy, as one of the breaks is that there is no other. */
const DOCTOR = '/root/doctor';
/** All that they change, beside the program. */
const CHANGED = 'etc/crypttab etc/fetch-luks-key etc/group etc/gshadow etc/systemd/system usr/lib/sysusers.d';
const folderOf = (name: string) => `/root/changes/${name}`;

const KEEP_RIGHT = `cp -a /usr/bin/fetch-luks-key ${DOCTOR}
tar -C / -cf /root/right.tar ${CHANGED}
`;

const ask = (name: string) => `echo '=== ${name}'
${DOCTOR} doctor --json 2>/root/said; echo "status $?"; cat /root/said
`;

const changeAndAsk = (name: string, { enable, prepare }: Guest, { serverAfterSeconds }: Break) => `(set -eu
tar -C ${folderOf(name)} -c . | tar -x -C / --no-overwrite-dir -p
${prepare}
systemctl daemon-reload
systemctl reenable --quiet ${enable.join(' ')}
${serverAfterSeconds === null ? `systemctl stop ${TANG_UNIT}` : ''}
) || exit
${ask(name)}
(set -eu
cd /; rm -r ${CHANGED}; tar -xpf /root/right.tar
cp -a --update ${DOCTOR} /usr/bin/fetch-luks-key
systemctl daemon-reload
systemctl start ${TANG_UNIT}
until fetch-luks-key open ${jwePath('data')} >/dev/null 2>&1; do sleep 0.1; done
) || exit
`;

const mounts = ['/var', '/tmp', '/srv'].map(mountOnVolume);
/** Other than the first machine, and as right: scenarios boot such too. */
const asRight = {
  mounts: {
    files: Object.assign({}, ...mounts.map(({ files }) => files)),
    enable: mounts.map(({ unit }) => unit),
    finds: [],
  },
  netdev: {
    options: 'luks,_netdev,headless=1',
    files: networkFiles,
    enable: ['remote-cryptsetup.target', NETWORK_UNIT],
    finds: [],
  },
  longestName: { names: [NAMES.longest], finds: [] },
} satisfies Readonly<Record<string, Break>>;

interface Answer {
  readonly status: number;
  readonly findings: readonly Finding[];
}

function answerOf(output: string, name: string): Answer {
  const [, json = '', status] = new RegExp(`^=== ${name}\n(.*)\nstatus (\\d+)$`, 'm').exec(output) ?? [];
  const { findings } = JSON.parse(json) as Pick<Answer, 'findings'>;
  return { status: Number(status), findings };
}

const title = 'doctor names each break before the reboot, and none where there is none';

scenario(title, { container: bootContainer }, async (t, stage) => {
  const guestWith = await sealedGuests(stage);
  const { disk, guest } = guestWith();
  const { sealed } = await makeTpm(t, stage.folder, async (seal) => ({
    data: await seal('tpm2', IN_THE_GUEST, disk.key),
  }));
  const all: Readonly<Record<string, Break>> = {
    ...breaks,
    ...asRight,
    noTpm: { files: { [jwePath('data')]: { content: sealed.data } }, finds: ['will-not-open'] },
  };
  const changed = Object.entries(all).map(([name, given]) => ({
    name,
    given,
    guest: guestWith(given).guest,
  }));
  const files = changed.flatMap(({ name, guest }) =>
    Object.entries(guest.files).map(([path, file]) => [folderOf(name) + path, file]),
  );
  const result = await stage.boot({
    ...guest,
    files: { ...guest.files, ...Object.fromEntries(files) },
    script: [
      guest.script,
      KEEP_RIGHT,
      ask('right'),
      ...changed.map(({ name, guest, given }) => changeAndAsk(name, guest, given)),
      ask('right again'),
    ].join(''),
    watchdogSeconds: 300,
  });
  unlockedEarly(t, result);

  for (const name of ['right', 'right again']) {
    const { status, findings } = answerOf(result.output, name);
    t.equal(status, 0, `${name}: nothing breaks the boot`, { findings });
    t.strictSame(
      findings.map(({ code }) => code),
      ['no-commitment', 'holds-up-boot'],
    );
  }
  for (const [name, { finds, findsBefore257 = [] }] of Object.entries(all)) {
    const wanted = [...finds, ...(stage.version < 257 ? findsBefore257 : [])];
    const { status, findings } = answerOf(result.output, name);
    t.equal(status, wanted.length === 0 ? 0 : 1, `${name}: exit status`);
    const named = new Set(findings.filter((one) => one.severity === 'breaks-boot').map(({ code }) => code));
    t.strictSame([...named].toSorted(), wanted.toSorted(), `${name}: it is named, and nothing else is`, {
      findings,
    });
  }
});
