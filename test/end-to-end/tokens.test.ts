import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import {
  addToken,
  clevisBind,
  clevisToken,
  copyImage,
  forge,
  makeImage,
  opens,
  overwrite,
} from '../support/luks.ts';
import { seal, vector } from '../support/sealing.ts';
import { setStage } from '../support/stage.ts';
import { startTang } from '../support/tang.ts';

const tang = await startTang(t);
const folder = t.testdir();
const bound = makeImage(folder, 'bound');
clevisBind(bound, 'tang', { url: tang.url });

/** A machine whose crypttab names this device for `data`, and that has no configuration. */
async function stageFor(t: Test, device: string) {
  const stage = await setStage(t);
  writeFileSync(
    stage.crypttab,
    `other /dev/null none luks\ndata ${device} /run/fetch-luks-key/default.sock luks\n`,
  );
  return stage;
}

/** A copy of `bound`, changed. */
function changed(name: string, change: (path: string) => void): string {
  const path = `${folder}/${name}`;
  copyImage(bound.path, path);
  change(path);
  return path;
}

const openedByTang = new RegExp(`data: key delivered, opened by tang ${tang.url} in \\d+ ms$`);

const inClear = (json: string) => json.replaceAll('aes-xts-plain64', 'cipher_null-ecb');
const cipherless = changed('no-cipher', (path) => forge(path, [0, 1], inClear));

t.test('a volume that was bound by `clevis luks bind` opens without any configuration', async (t) => {
  const stage = await stageFor(t, bound.path);
  const { bytes, status, lines } = await stage.askAlone('data');
  t.equal(status, 0);
  t.equal(lines.length, 1);
  t.match(lines[0], openedByTang);
  t.ok(opens(bound.path, bytes), 'and cryptsetup takes the key');
});

t.test('the first token that opens counts, whatever the others are', async (t) => {
  const image = makeImage(folder, 'several');
  const unknown = vector('broken-unknown-pin');
  const absent = await startTang(t);
  const adv: unknown = await (await fetch(`${absent.url}/adv`)).json();
  await absent.stop();
  const silent = await seal('tang', { url: absent.url, adv }, 'never');
  const good = await seal('tang', { url: tang.url, thp: tang.thp }, 'good');
  for (const jwe of ['', unknown, silent, good]) addToken(image, clevisToken(['0'], jwe));
  const stage = await stageFor(t, image.path);
  await stage.shows(t, 'the last', 'data', { status: 0, line: openedByTang, gets: Buffer.from('good') });
});

t.test('what a header may not be', async (t) => {
  const spoil = (path: string) => {
    for (const copy of [0, 16_384]) overwrite(path, copy + 5000, Buffer.from('x'));
  };
  const flooding = makeImage(folder, 'flooding', ['--luks2-metadata-size', '64k']);
  for (let count = 0; count < 17; count++)
    addToken(flooding, clevisToken(['0'], vector('made-by-clevis-20-tang')));
  const broken = makeImage(folder, 'broken');
  addToken(broken, clevisToken(['0'], 'a.b.c.d.e'));
  const noCipher = ': LUKS header: .*: expected a cipher, got "cipher_null-ecb" \\(hint: if you did not';
  const cases: [title: string, device: string, status: 4 | 5 | 6, line: string][] = [
    ['no cipher', cipherless, 4, noCipher],
    ['no cipher in one copy', changed('one-copy', (path) => forge(path, [1], inClear)), 4, noCipher],
    [
      'both copies damaged',
      changed('spoilt', spoil),
      6,
      ': LUKS header: both copies of the header are damaged',
    ],
    ['a damaged sealed key', broken.path, 6, ' token 0: sealed key: expected an empty encrypted key'],
    ['17 servers', flooding.path, 6, ': expected at most 16 pins on the network in all its tokens, got 17'],
    ['no such device', `${folder}/absent`, 5, ': no such file or device'],
  ];
  for (const [title, device, status, line] of cases) {
    const stage = await stageFor(t, device);
    stage.configure({ volumes: { data: { 'give-up-after': '2s' } } });
    const pattern = new RegExp(`^data: ${RegExp.escape(device)}${line}`);
    await stage.shows(t, title, 'data', { status, line: pattern });
  }
  const stage = await stageFor(t, makeImage(folder, 'plain').path);
  const line = /^data: no sealed key for data: .*, no clevis token in \S+\/plain \(hint: /;
  await stage.shows(t, 'no token', 'data', { status: 3, line });
});

t.test('what a header says is no line of the journal', async (t) => {
  // journald begins an entry at each newline, and cuts a line after 48 KiB: what follows would have a priority of its own.
  const flood = `null\\n<6>data: key delivered${'A'.repeat(2_000)}\u009b2J`;
  const device = changed('flood', (path) =>
    forge(path, [0, 1], (json) => json.replaceAll('aes-xts-plain64', flood)),
  );
  const stage = await stageFor(t, device);
  const line =
    /^data: \S+\/flood: LUKS header: .*: expected a cipher, got "null[ -~]{0,100}… \(hint: if you did not/;
  await stage.shows(t, 'flooded', 'data', { status: 4, line });
});

t.test('a header that cannot be read from here keeps no sealed key from opening', async (t) => {
  for (const fields of ['/dev/null SOCKET luks,header=/h.img:UUID=1', 'disk.img SOCKET luks']) {
    const stage = await setStage(t);
    writeFileSync(stage.crypttab, `data ${fields.replace('SOCKET', '/run/fetch-luks-key/default.sock')}\n`);
    stage.put('data', await seal('tang', { url: tang.url, thp: tang.thp }, 'the key'));
    await stage.shows(t, fields, 'data', { status: 0, line: openedByTang, gets: Buffer.from('the key') });
  }
});

t.test('a disk without a cipher gets no key, wherever that is', async (t) => {
  const stage = await stageFor(t, cipherless);
  stage.put('data', await seal('tang', { url: tang.url, thp: tang.thp }, 'the key'));
  const line = /^data: \S+\/no-cipher: LUKS header: .*: expected a cipher, got "cipher_null-ecb"/;
  await stage.shows(t, 'swapped', 'data', { status: 4, line });
});
