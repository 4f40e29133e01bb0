import { bootContainer } from './harness/container.ts';
import { unlockedEarly } from './harness/expect.ts';
import { plainGuest } from './harness/guest.ts';
import { innerHttps } from './harness/https.ts';
import { scenario } from './harness/scenario.ts';
import { crypttabLine, makeDisk, opensVolume, SOCKET_UNIT } from './harness/volumes.ts';

scenario('url: volume, server known by its key', { container: bootContainer }, async (t, stage) => {
  const disk = makeDisk(stage.folder, 'data');
  const https = innerHttps(disk.key);
  const config = `volumes:\n  data: { url: "${https.url}", pin: ${https.pin} }\n`;
  const result = await stage.boot({
    ...plainGuest,
    disks: [disk],
    enable: [SOCKET_UNIT, https.unit],
    files: {
      ...https.files,
      '/etc/crypttab': { content: crypttabLine(disk) },
      '/etc/fetch-luks-key/config.yaml': { content: config },
    },
    script: opensVolume(disk),
  });
  unlockedEarly(t, result, 'data', 'https:');
});
