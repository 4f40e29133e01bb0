import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { Secret } from '../../src/base/secret.ts';
import { seal } from '../../src/pins/table.ts';
import { activate } from '../support/activation.ts';
import { sealContext } from '../support/contexts.ts';
import { privateMounts } from '../support/private-mounts.ts';
import { descriptorsOf, processesWith } from '../support/processes.ts';
import { startTang } from '../support/tang.ts';
import { ownFolder, ownSwtpm, tpmAt } from '../support/tpm.ts';

const VOLUMES = 64;
const REQUESTS = 500;

// Sixty-four unseals one after the other, and five hundred requests, on two cores that other tests share.
t.setTimeout(800_000);

const root = resolve(import.meta.dirname, '../..');
const executable = join(root, 'dist/fetch-luks-key');

const tang = await startTang(t);
const swtpm = await ownSwtpm(t);
const folder = mkdtempSync(join(root, '.tap/load-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const etc = join(folder, 'etc');
mkdirSync(join(etc, 'volumes'), { recursive: true });
// Only waiting for their turn takes long, on two cores and one TPM.
const names = Array.from({ length: VOLUMES }, (_, index) => index);
const settings = names.flatMap((n) => [
  `  tpm2-${n}: { give-up-after: 10m }`,
  `  tang-${n}: { give-up-after: 10m }`,
]);
writeFileSync(join(etc, 'config.yaml'), `volumes:\n${settings.join('\n')}\n`);

/** Seals a key of its own for a volume. */
async function sealVolume(volume: string, pin: string, config: object): Promise<Buffer> {
  const key = randomBytes(48);
  const context = sealContext({ tpm: tpmAt(swtpm.tcti, lockFolder) });
  writeFileSync(
    join(etc, 'volumes', `${volume}.jwe`),
    await seal(pin, config, new Secret(Buffer.from(key)), context),
  );
  return key;
}

const lockFolder = ownFolder(t);

/** The handler in places of its own, and whatever it leaves behind. */
async function underWatch(t: Test) {
  const mounts = privateMounts(mkdtempSync(join(folder, 'mounts-')));
  const marker = `FLK_MARKER=${randomBytes(8).toString('hex')}`;
  const [name = '', value = ''] = marker.split('=');
  const socket = await activate(['--etc', etc, '--crypttab', join(folder, 'crypttab')], {
    environment: { TPM2TOOLS_TCTI: swtpm.tcti, [name]: value },
    program: [...mounts.wrapper, executable],
  });
  t.teardown(() => socket.stop());
  return {
    socket,
    assertNothingLeft(t: Test, descriptorsBefore: number) {
      t.same(processesWith(marker), [], 'no handler is left');
      t.same(
        processesWith(swtpm.tcti).filter(({ arguments: a }) => a.includes('tpm2_')),
        [],
        'no TPM tool is left',
      );
      t.equal(
        descriptorsOf(socket.pid).length,
        descriptorsBefore,
        'no descriptor is left in who passes connections',
      );
      t.equal(swtpm.leftovers(), '', 'nothing is left in the TPM');
      const files = mounts.files();
      t.ok(
        files.every((file) => file.endsWith('.lock')) && files.length <= 1,
        `no file but the lock is left: ${files}`,
      );
    },
  };
}

for (const pin of ['tang', 'tpm2']) {
  t.test(`${VOLUMES} volumes at once: ${pin}`, async (t) => {
    const keys = new Map<string, Buffer>();
    const config = pin === 'tang' ? { url: tang.url, thp: tang.thp } : {};
    for (const n of names) keys.set(`${pin}-${n}`, await sealVolume(`${pin}-${n}`, pin, config));
    const { socket, assertNothingLeft } = await underWatch(t);
    const descriptors = descriptorsOf(socket.pid).length;
    const answers = await Promise.all([...keys.keys()].map((volume) => socket.ask(volume)));
    for (const [index, key] of [...keys.values()].entries()) {
      if (!answers[index]?.equals(key))
        t.fail(`${pin}-${index} got another key: ${socket.journal.join('\n')}`);
    }
    const statuses = await Promise.all(names.map(() => socket.ended()));
    t.same(new Set(statuses), new Set([0]), 'all delivered');
    assertNothingLeft(t, descriptors);
  });
}

t.test(`${REQUESTS} requests one after the other`, async (t) => {
  const config = { t: 2, pins: { tpm2: {}, tang: { url: tang.url, thp: tang.thp } } };
  const key = await sealVolume('data', 'sss', config);
  const { socket, assertNothingLeft } = await underWatch(t);
  const descriptors = descriptorsOf(socket.pid).length;
  for (let request = 0; request < REQUESTS; request++) {
    const { bytes, status, lines } = await socket.askAlone('data');
    if (status !== 0 || !bytes.equals(key))
      t.fail(`request ${request}: status ${status}, ${lines.join(' ')}`);
  }
  t.equal(socket.journal.length, REQUESTS, 'one line each');
  assertNothingLeft(t, descriptors);
});
