import { addToken, clevisToken } from '../test/support/luks.ts';
import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { innerHttps } from './harness/https.ts';
import { scenario } from './harness/scenario.ts';
import { jwePath } from './harness/sealed.ts';
import { innerTang, TANG_UNIT } from './harness/tang.ts';
import { crypttabLine, makeDisk, opensVolume, SOCKET_UNIT, TAKEN_FOR_OPEN } from './harness/volumes.ts';

scenario('three volumes: sealed key, clevis token, url:', { container: bootContainer }, async (t, stage) => {
  const disk = (name: string) => makeDisk(stage.folder, name);
  const [sealed, bound, plain] = [disk('sealed'), disk('bound'), disk('plain')];
  const disks = [sealed, bound, plain];
  const tang = innerTang(stage.folder);
  const https = innerHttps(plain.key);
  addToken({ path: bound.image, keyFile: '' }, clevisToken(['0'], await tang.seal(bound.key)));
  const config = `volumes:\n  plain: { url: "${https.url}", pin: ${https.pin} }\n`;
  const result = await stage.boot({
    ...plainGuest,
    disks,
    enable: [SOCKET_UNIT, TANG_UNIT, https.unit],
    files: {
      ...tang.files(0),
      ...https.files,
      ...TAKEN_FOR_OPEN,
      '/etc/crypttab': { content: disks.map((disk) => crypttabLine(disk)).join('') },
      [jwePath('sealed')]: { content: await tang.seal(sealed.key), mode: 0o600 },
      '/etc/fetch-luks-key/config.yaml': { content: config },
    },
    script: disks.map(opensVolume).join(''),
  });
  unlockedEarly(t, result, 'sealed', 'tang');
  unlockedEarly(t, result, 'bound', 'tang');
  unlockedEarly(t, result, 'plain', 'https:');
});
