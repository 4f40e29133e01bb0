import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { DEFAULT_PROGRAM } from '../support/activation.ts';
import { fails, fetchLuksKey } from '../support/command-line.ts';
import { setStage } from '../support/stage.ts';
import { ownFolder } from '../support/tpm.ts';

t.setTimeout(300_000);

const KEY = Buffer.from('a key of no machine but this');

/** A machine whose host key (/var/lib/systemd/credential.secret) is its own. */
async function machine(t: Test) {
  const folder = ownFolder(t);
  const state = `${folder}/state`;
  mkdirSync(state);
  const wrapper = `${folder}/with-host-key`;
  writeFileSync(wrapper, `#!/bin/sh\nmount --bind ${state} /var/lib/systemd && exec "$@"\n`);
  chmodSync(wrapper, 0o755);
  const inside = ['/usr/bin/unshare', '--mount', wrapper];
  const stage = await setStage(t, { program: [...inside, ...DEFAULT_PROGRAM] });
  return {
    stage,
    state,
    seal: (config: object, pin = 'systemd-creds') =>
      fetchLuksKey(['seal', pin, JSON.stringify(config)], KEY, {}, inside),
  };
}

const delivered = {
  status: 0,
  line: /^data: key delivered, opened by systemd-creds in \d+ ms$/,
  gets: KEY,
} as const;

t.test('opens on the host that sealed it, and nowhere else', async (t) => {
  const { stage, state, seal } = await machine(t);
  const { status, stdout, stderr } = await seal({ 'with-key': 'host' });
  t.equal(status, 0, stderr);
  stage.put('data', stdout);
  await stage.shows(t, 'opened', 'data', delivered);

  const nested = await seal({ t: 1, pins: { 'systemd-creds': [{ 'with-key': 'host' }] } }, 'sss');
  t.equal(nested.status, 0, nested.stderr);
  stage.put('data', nested.stdout);
  await stage.shows(t, 'nested', 'data', delivered);

  rmSync(`${state}/credential.secret`);
  // Makes another.
  t.equal((await seal({ 'with-key': 'host' })).status, 0);
  stage.put('data', stdout);
  await stage.shows(t, 'another host', 'data', {
    status: 6,
    line: /^data: .*data\.jwe: systemd-creds: Decryption failed/,
  });
});

t.test('not after its time, and not under another name', async (t) => {
  const { stage, seal } = await machine(t);
  const { stdout } = await seal({ 'with-key': 'host', 'not-after': '+2s', name: 'one' });
  const [head = '', ...parts] = stdout.split('.');
  const header = Buffer.from(head, 'base64url').toString().replace('"name":"one"', '"name":"two"');
  stage.put('data', [Buffer.from(header).toString('base64url'), ...parts].join('.'));
  await stage.shows(t, 'another name', 'data', {
    status: 4,
    line: /Embedded credential name 'one' does not match filename 'two', refusing/,
  });
  await pause(2500);
  stage.put('data', stdout);
  await stage.shows(t, 'too late', 'data', { status: 4, line: /Credential's time passed, refusing to use/ });
});

t.test('bad configuration', async (t) => {
  const { seal } = await machine(t);
  const cases: readonly [object, RegExp][] = [
    [
      { 'with-key': 'tang' },
      /pin systemd-creds: with-key: expected host, tpm2, host\+tpm2, auto, got "tang"/,
    ],
    [{ 'tpm2-pcrs': 7 }, /pin systemd-creds: tpm2-pcrs: expected PCRs as in 7\+11, got 7/],
    [{ name: '../x' }, /pin systemd-creds: name: expected a credential's name, got "\.\.\/x"/],
    [{ pcrs: '7' }, /pin systemd-creds: configuration: expected only .*, got "pcrs"/],
    [
      { 'with-key': 'host', 'not-after': 'tomorrowish' },
      /systemd-creds: Failed to parse --not-after= timestamp/,
    ],
    [
      { 'with-key': 'host', 'not-after': '2020-01-01' },
      /systemd-creds: Credential is invalidated before it is valid/,
    ],
  ];
  for (const [config, line] of cases) fails(t, JSON.stringify(config), await seal(config), 3, line);
  fails(t, 'no TPM', await seal({ 'with-key': 'tpm2' }), 5, /^systemd-creds: .*TCTI/);
});
