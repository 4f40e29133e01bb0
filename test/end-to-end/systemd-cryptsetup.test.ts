import { existsSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { makeImage, PASSPHRASE } from '../support/luks.ts';
import { run } from '../support/run.ts';
import { answer, serveHttp } from '../support/servers.ts';
import { type Stage, setStage } from '../support/stage.ts';

/** Debian 12's place, and 13's. */
const CLIENT = ['/usr/lib/systemd/systemd-cryptsetup', '/usr/bin/systemd-cryptsetup'].find(existsSync);

const { path: image } = makeImage(t.testdir(), 'image');
const server = await serveHttp(t, answer(200, PASSPHRASE));
const url = `http://127.0.0.1:${server.port}/key`;
/** Where there is a device mapper, attaching succeeds, and these names are in its table for a moment. */
const own = `flk-${process.pid}`;

/**
 * Lets systemd's own client attach the image. Without a device mapper it fails, after it has asked for the key: what
 * is looked at is the handler's side.
 */
async function attach(stage: Stage, volume: string, options: string): Promise<void> {
  if (CLIENT === undefined)
    throw new Error('systemd-cryptsetup is missing: install the package of that name');
  const command = [CLIENT, 'attach', volume, image, stage.path, `luks,headless=1${options}`];
  const { status } = await run(command, Buffer.alloc(0), {});
  if (status === 0) await run([CLIENT, 'detach', volume], Buffer.alloc(0), {});
}

async function stageFor(t: Test, ...volumes: string[]): Promise<Stage> {
  const stage = await setStage(t);
  const settings = volumes.map((volume) => [volume, { url, 'allow-plaintext': true }]);
  stage.configure({ volumes: Object.fromEntries(settings) });
  writeFileSync(stage.crypttab, volumes.map((volume) => `${volume} ${image} ${stage.path} luks\n`).join(''));
  return stage;
}

t.test('systemd’s own client is understood, and takes the key', async (t) => {
  const volumes = [own, `${own} µ Übung`, `${own}.${'v'.repeat(77 - own.length)}`];
  const stage = await stageFor(t, ...volumes);
  for (const volume of volumes) {
    await attach(stage, volume, '');
    t.equal(await stage.ended(), 0, volume);
    const [line = '', ...others] = stage.journal.splice(0);
    const delivered = new RegExp(`^<6>${RegExp.escape(volume)}: key delivered, opened by ${url} in \\d+ ms$`);
    t.match(line, delivered);
    t.same(others, [], 'and that is all it asked for');
  }
});

t.test('what it asks for beside that is refused', async (t) => {
  const stage = await stageFor(t, own);
  await attach(stage, `${own}-unknown`, '');
  t.equal(await stage.ended(), 3);
  t.match(stage.journal.splice(0), [/^<3>\S+-unknown: no sealed key for \S+-unknown: /]);
  await attach(stage, own, ',tpm2-device=/dev/null');
  t.equal(await stage.ended(), 4);
  t.match(stage.journal.splice(0), [new RegExp(`^<4>${own}: a blob for tpm2 was asked for`)]);
});
