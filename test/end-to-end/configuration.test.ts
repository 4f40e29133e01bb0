import { mkdirSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { vector } from '../support/sealing.ts';
import { setStage } from '../support/stage.ts';

const url = 'https://127.0.0.1:1/key';

t.test('what is wrong with config.yaml is said with file, line, field, expected and got', async (t) => {
  const stage = await setStage(t);
  // However good the sealed key, what config.yaml restricts is not known.
  stage.put('data', vector('made-by-clevis-20-tang'));
  const cases: [title: string, yaml: string, line: RegExp][] = [
    ['a syntax error', 'volumes:\n  data: {', /:2: column \d+: expected YAML, got /],
    [
      'an unknown key',
      `volumes:\n  data:\n    ulr: ${url}\n`,
      /:3: volumes\.data\.ulr: expected one of the keys url, .* got "ulr"/,
    ],
    [
      'no unit',
      `volumes:\n  data:\n    url: ${url}\n    give-up-after: 90\n`,
      /:4: volumes\.data\.give-up-after: expected a duration with its unit .*, got 90/,
    ],
    [
      'a duplicate key',
      `volumes:\n  data:\n    url: ${url}\n    url: ${url}\n`,
      /:4: volumes\.data\.url: expected this key once, got it again/,
    ],
    [
      'no encryption',
      'volumes:\n  data:\n    url: http://127.0.0.1/\n',
      /:3: volumes\.data\.url: expected https:\/\/, or allow-plaintext: true beside it, got http:\/\//,
    ],
    [
      'another volume’s',
      'volumes:\n  root:\n    allow: [tmp2]\n',
      /:3: volumes\.root\.allow\[0\]: expected one of tpm2, tang, remote, systemd-creds, parsec, got "tmp2"/,
    ],
    [
      'two faults',
      'volumes:\n  data:\n    ca: x\n    pin: y\n',
      /:3: volumes\.data\.ca: expected .* \(and \d more\)/,
    ],
  ];
  for (const [title, yaml, line] of cases) {
    stage.configure(yaml);
    const whole = new RegExp(
      `^data: \\S+/etc/config\\.yaml${line.source}.* \\(hint: fetch-luks-key check lists`,
    );
    await stage.shows(t, title, 'data', { status: 3, line: whole });
  }
});

t.test('what config.yaml does not allow is refused before anything is asked for', async (t) => {
  const stage = await setStage(t);
  stage.put('data', vector('made-by-clevis-20-sss-nested'));
  const hint = (field: string) => `.*\\(hint: ${field} of this volume in config\\.yaml says so`;
  stage.configure({ volumes: { data: { allow: ['tpm2'] } } });
  await stage.shows(t, 'allow', 'data', {
    status: 4,
    line: new RegExp(`^data: \\S+/data\\.jwe: expected only the pins tpm2, got tang ${hint('allow')}`),
  });
  stage.configure({ volumes: { data: { 'allow-tang': ['http://tang.example'] } } });
  const servers = 'expected only the Tang servers http://tang\\.example, got "http://127\\.0\\.0\\.1:7171"';
  await stage.shows(t, 'allow-tang', 'data', {
    status: 4,
    line: new RegExp(`^data: \\S+/data\\.jwe: ${servers} ${hint('allow-tang')}`),
  });
});

t.test('what is not where, or not what, it should be', async (t) => {
  const stage = await setStage(t);
  mkdirSync(`${stage.etc}/volumes/data.jwe`);
  await stage.shows(t, 'a folder for a sealed key', 'data', {
    status: 3,
    line: /^data: \S+\/data\.jwe: expected a file, got a folder/,
  });
  stage.put('huge', 'e'.repeat(2 * 1024 * 1024));
  await stage.shows(t, 'a sealed key of 2 MiB', 'huge', {
    status: 3,
    line: /^huge: \S+\/huge\.jwe: expected at most 1835008 bytes, got more/,
  });
  for (const [device, line] of [
    [
      'disk.img - luks',
      /^disk: \S+\/crypttab:2: device: expected an absolute path or a tag such as UUID=, got "disk\.img"/,
    ],
    [
      '/dev/null - luks,header=/h.img:UUID=1',
      /^disk: \S+\/crypttab:2: header=: a header on \/dev\/disk\/by-uuid\/1 cannot/,
    ],
  ] as const) {
    writeFileSync(stage.crypttab, `# a comment\ndisk ${device}\n`);
    await stage.shows(t, device, 'disk', { status: 3, line });
  }
});
