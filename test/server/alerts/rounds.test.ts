import t from 'tap';
import { AppError } from '../../../src/base/errors.ts';
import { serverLimits } from '../../../src/base/server-limits.ts';
import { clock } from '../../../src/os/clock.ts';
import { Rounds } from '../../../src/server/alerts/rounds.ts';
import { joinedMachine, startApp, TestMachine } from '../api/machines.ts';
import { sqlitePlace } from '../store/backends.ts';

t.setTimeout(300_000);

const MINUTE = 60_000;
const { signal } = new AbortController();
const log = { info() {}, warning() {}, error() {} };

t.test('who falls silent is told of once, when its lease ends', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  const machine = await joinedMachine(server, 'nas');
  await joinedMachine(server, 'other', { 'lease-ms': 60 * MINUTE });
  const rounds = new Rounds(server.app, clock, log);
  t.equal(rounds.counts, null);
  server.alerts.length = 0;
  await rounds.round(signal);
  t.strictSame(rounds.counts, { armed: 2, locked: 0, revoked: 0 });
  await server.pass(14 * MINUTE);
  await rounds.round(signal);
  t.strictSame(server.alerts, []);
  await server.pass(MINUTE);
  await rounds.round(signal);
  t.strictSame(rounds.counts, { armed: 1, locked: 1, revoked: 0 });
  t.match(server.alerts, [
    { kind: 'locked', machine: 'nas', from: null, text: 'lease', requestId: /^[0-9a-f]{16}$/ },
  ]);
  await rounds.round(signal);
  await server.pass(5 * MINUTE);
  await rounds.round(signal);
  t.equal(server.alerts.length, 1, 'once');

  t.match(await machine.keepalive(), { 'lease-left-ms': 15 * MINUTE });
  await rounds.round(signal);
  t.strictSame(rounds.counts, { armed: 2, locked: 0, revoked: 0 });
  t.match(server.alerts.slice(1), [{ kind: 'rearmed' }]);
  await server.pass(15 * MINUTE);
  await rounds.round(signal);
  const [first, , again] = server.alerts;
  t.match(again, { kind: 'locked', machine: 'nas', text: 'lease' });
  t.not(again?.requestId, first?.requestId, 'another silence');
});

t.test('what somebody did is not told again', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  const asking = await joinedMachine(server, 'asking');
  await joinedMachine(server, 'locked');
  await joinedMachine(server, 'revoked');
  const rounds = new Rounds(server.app, clock, log);
  await rounds.round(signal);
  await server.operate({ command: 'lock', name: 'locked' });
  await server.operate({ command: 'revoke', name: 'revoked' });
  await server.pass(15 * MINUTE);
  t.equal(await asking.recover(), 'locked');
  const { length } = server.alerts;
  await rounds.round(signal);
  t.strictSame(server.alerts.slice(length), []);
  t.strictSame(rounds.counts, { armed: 0, locked: 2, revoked: 1 });
});

t.test('over a restart, and by two processes: told twice, under one name', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  await joinedMachine(server, 'nas');
  await server.pass(15 * MINUTE);
  server.alerts.length = 0;
  for (let times = 0; times < 2; times++) await new Rounds(server.app, clock, log).round(signal);
  const [one, two, ...others] = server.alerts;
  t.match(one, { kind: 'locked', machine: 'nas' });
  t.strictSame(two, one);
  t.equal(others.length, 0);
  await server.pass(serverLimits.roundsRepeatedMs);
  server.alerts.length = 0;
  await new Rounds(server.app, clock, log).round(signal);
  t.strictSame(server.alerts, [], 'but nothing that is long ago');
});

t.test('a store that is away is waited for, and nothing is missed', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  await joinedMachine(server, 'nas');
  const { store } = server.app;
  let isAway = false;
  const snapshot: typeof store.snapshot = async (work) => {
    if (isAway) throw new AppError('unavailable', 'away');
    return await store.snapshot(work);
  };
  const app = { ...server.app, store: { ...store, now: () => store.now(), snapshot } as typeof store };
  const rounds = new Rounds(app, clock, log);
  await rounds.round(signal);
  isAway = true;
  server.alerts.length = 0;
  await server.pass(20 * MINUTE);
  await t.rejects(rounds.round(signal), { code: 'unavailable' });
  isAway = false;
  await rounds.round(signal);
  t.match(server.alerts, [{ kind: 'locked', machine: 'nas' }]);
});

t.test('page by page, one round after the other, until it is stopped', async (t) => {
  const server = await startApp(t, sqlitePlace(t));
  const count = serverLimits.pageRows + 1;
  for (let index = 0; index < count; index++) {
    const request = { command: 'invite', name: `m${index}`, policy: {}, rejoin: false } as const;
    const { invitation } = await server.operate<'invite'>(request);
    await new TestMachine(server).join(invitation);
  }
  let nowMs = 0;
  const pauses: number[] = [];
  const end = new AbortController();
  const slow = {
    nowMs: () => (nowMs += 10_000),
    async sleep(ms: number) {
      pauses.push(ms);
      if (pauses.length === 2) end.abort();
    },
  };
  const rounds = new Rounds(server.app, slow, log);
  await rounds.run(end.signal);
  t.strictSame(rounds.counts, { armed: count, locked: 0, revoked: 0 });
  t.strictSame(pauses, [250_000, 250_000], 'a long round has a long rest');
});

t.test('a row that somebody else wrote is told, once', async (t) => {
  const place = sqlitePlace(t);
  const server = await startApp(t, place);
  await joinedMachine(server, 'nas');
  const lines: string[] = [];
  const end = new AbortController();
  let rests = 0;
  const tampered = {
    nowMs: () => 0,
    async sleep() {
      rests++;
      if (rests === 1) await place.tamper("UPDATE machines SET name = 'san'");
      if (rests === 4) await place.tamper("UPDATE machines SET name = 'nas'");
      if (rests === 5) end.abort();
    },
  };
  const rounds = new Rounds(server.app, tampered, { ...log, error: (line) => void lines.push(line) });
  const counted: unknown[] = [];
  const { sleep } = tampered;
  tampered.sleep = async () => {
    counted.push(rounds.counts);
    await sleep();
  };
  await rounds.run(end.signal);
  const one = { armed: 1, locked: 0, revoked: 0 };
  t.strictSame(counted, [one, null, null, null, one]);
  t.equal(lines.length, 1);
  t.match(lines[0], /^cannot look who fell silent: .*machine/);
});
