import { mkdirSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { seal } from '../support/sealing.ts';
import { setStage } from '../support/stage.ts';
import { startTang } from '../support/tang.ts';

const tang = await startTang(t);
const sealed = (secret: string | Uint8Array) => seal('tang', { url: tang.url, thp: tang.thp }, secret);
const asked = (name: string) => Buffer.from(`\0${'1a'}/unit/${name}`);

async function stageFor(t: Test) {
  const stage = await setStage(t, { standardInput: true });
  return {
    ...stage,
    keep(unit: string, id: string, jwe: string) {
      mkdirSync(`${stage.etc}/credentials/${unit}`, { recursive: true });
      writeFileSync(`${stage.etc}/credentials/${unit}/${id}.jwe`, jwe);
    },
  };
}

const delivered = (name: string, gets: string | Uint8Array) => ({
  status: 0 as const,
  line: new RegExp(`^${RegExp.escape(name)}: key delivered, opened by tang http://\\S+ in \\d+ ms$`),
  gets: Buffer.from(gets),
});

t.test('a unit gets its secret, an instance its own or its template’s', async (t) => {
  const stage = await stageFor(t);
  stage.keep('nginx.service', 'tls', await sealed('one'));
  await stage.shows(t, 'plain', asked('nginx.service/tls'), delivered('nginx.service/tls', 'one'));

  stage.keep('pg@.service', 'key', await sealed('of all'));
  await stage.shows(t, 'template', asked('pg@a.service/key'), delivered('pg@a.service/key', 'of all'));
  stage.keep('pg@a.service', 'key', await sealed('of one'));
  await stage.shows(t, 'instance', asked('pg@a.service/key'), delivered('pg@a.service/key', 'of one'));
  await stage.shows(t, 'another', asked('pg@b.c@d.service/key'), delivered('pg@b.c@d.service/key', 'of all'));

  const most = Buffer.alloc(1024 * 1024 - 1, 'x');
  stage.keep('big.service', 'most', await sealed(most));
  await stage.shows(t, 'the most', asked('big.service/most'), delivered('big.service/most', most));
});

t.test('a refusal is more than systemd takes', async (t) => {
  const stage = await stageFor(t);
  stage.put('data', await sealed('of a volume'));
  writeFileSync(`${stage.etc}/outside.jwe`, await sealed('not yours'));
  stage.keep('a.service', 'empty', await sealed(''));
  stage.keep('a.service', 'long', await sealed(Buffer.alloc(1024 * 1024)));
  stage.keep('a.service', 'broken', 'a.b.c');
  const cases: readonly [string, 2 | 3 | 6, RegExp][] = [
    [
      'a.service/none',
      3,
      /^a\.service\/none: no sealed key .*: no \S+\/credentials\/a\.service\/none\.jwe, no \S+ \(hint: .*--credential/,
    ],
    [
      'a@b.service/x',
      3,
      /: no \S+\/credentials\/a@b\.service\/x\.jwe, .*no \S+\/credentials\/a@\.service\/x\.jwe/,
    ],
    ['@.service/x', 3, /no sealed key/],
    ['a.service/empty', 6, /expected 1 to 1048575 bytes, got 0/],
    ['a.service/long', 6, /expected 1 to 1048575 bytes, got 1048576/],
    ['a.service/broken', 6, /broken\.jwe: .*five parts/],
    ['../outside', 2, /^request: credential "\.\.\/outside": expected/],
    ['a.service/../../outside', 2, /^request: credential/],
    ['./outside', 2, /^request: credential/],
    ['../volumes/data', 2, /^request: credential/],
    [`${'u'.repeat(80)}/cccc`, 2, /at most 83 bytes together/],
  ];
  for (const [name, status, line] of cases)
    await stage.shows(t, name, asked(name), { status, line, gets: 'over-long' });
});

t.test('each socket serves its own kind', async (t) => {
  const stage = await stageFor(t);
  stage.put('data', await sealed('of a volume'));
  await stage.shows(t, 'a volume', 'data', {
    status: 4,
    line: /^data: this socket serves service credentials, not volumes \(hint: \/etc\/crypttab/,
  });
  const volumes = await setStage(t);
  await volumes.shows(t, 'a credential', asked('a.service/tls'), {
    status: 4,
    line: /^a\.service\/tls: this socket serves volumes, not service credentials \(hint: LoadCredential=/,
    gets: 'over-long',
  });
});

t.test('config.yaml says what a socket serves', async (t) => {
  const stage = await stageFor(t);
  stage.keep('a.service', 'x', await sealed('one'));
  mkdirSync(`${stage.etc}/credentials.encrypted/a.service`, { recursive: true });
  writeFileSync(`${stage.etc}/credentials.encrypted/a.service/y.jwe`, await sealed('two'));
  const serving = (...serve: string[]) => stage.configure({ sockets: { [stage.path]: { serve } } });

  stage.configure({ sockets: { '/run/another.sock': { serve: ['volumes'] } } });
  await stage.shows(t, 'not listed', asked('a.service/x'), delivered('a.service/x', 'one'));
  serving('credentials');
  await stage.shows(t, 'listed', asked('a.service/x'), delivered('a.service/x', 'one'));
  await stage.shows(t, 'another form', asked('a.service/y'), {
    status: 3,
    line: /no sealed key/,
    gets: 'over-long',
  });
  serving('encrypted-credentials');
  await stage.shows(t, 'encrypted', asked('a.service/y'), delivered('a.service/y', 'two'));
  await stage.shows(t, 'plain', asked('a.service/x'), {
    status: 3,
    line: /no sealed key .*: no \S+\/credentials\.encrypted\/a\.service\/x\.jwe \(hint: .* --encrypted /,
    gets: 'over-long',
  });
  serving('volumes');
  await stage.shows(t, 'what would not be safe', asked('a.service/x'), {
    status: 3,
    line: /^a\.service\/x: sockets\.\S+\.serve: volumes may not go there \(hint: /,
    gets: 'over-long',
  });

  const volumes = await setStage(t);
  volumes.put('data', await sealed('of a volume'));
  mkdirSync(`${volumes.etc}/credentials.encrypted/a.service`, { recursive: true });
  writeFileSync(`${volumes.etc}/credentials.encrypted/a.service/y.jwe`, await sealed('two'));
  volumes.configure({ sockets: { [volumes.path]: { serve: ['encrypted-credentials'] } } });
  await volumes.shows(t, 'instead of volumes', asked('a.service/y'), delivered('a.service/y', 'two'));
  await volumes.shows(t, 'no volumes', 'data', {
    status: 4,
    line: /^data: this socket serves encrypted service credentials, not volumes \(hint: config\.yaml says so/,
  });
});
