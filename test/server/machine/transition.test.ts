import t, { type Test } from 'tap';
import type { Event, Outcome, Refusal } from '../../../src/server/machine/event.ts';
import { defaultPolicy, type Policy } from '../../../src/server/machine/policy.ts';
import { joined, leaseLeftMs, type MachineState, statusAt } from '../../../src/server/machine/state.ts';
import { transition } from '../../../src/server/machine/transition.ts';

const MINUTE = 60_000;
const HOME = '192.0.2.1';

/** One machine and its clock, in minutes. */
class Story {
  state: MachineState;
  minute = 0;
  last: Outcome | null = null;
  #requests = 0;

  constructor(policy: Partial<Policy> = {}) {
    this.state = joined({ ...defaultPolicy, ...policy });
  }

  at(minute: number): this {
    this.minute = minute;
    return this;
  }

  tell(event: Event): Refusal | null {
    this.last = transition(this.state, event, { leaseMs: this.minute * MINUTE, wallMs: 0 });
    this.state = this.last.state;
    return this.last.refusal;
  }

  seal(boot = 'a', kid = 'k1', proven = false, kept: readonly string[] = Object.keys(this.state.alive)) {
    return this.tell({ type: 'register', kid, alive: 'hash', kept, proven, boot, from: HOME });
  }
  allow(confirmed = false) {
    return this.tell({ type: 'allow', confirmed });
  }
  recover(boot: string | null = 'b', kid = 'k1', from = HOME) {
    return this.tell({ type: 'recover', kid, requestId: `r${++this.#requests}`, boot, from });
  }
  alive(boot = 'a', proven = true, from = HOME) {
    return this.tell({ type: 'keepalive', proven, boot, from });
  }
  announce(withinMinutes = 5, proven = true, from = HOME) {
    return this.tell({ type: 'announce', proven, withinMs: withinMinutes * MINUTE, boot: 'a', from });
  }
  get status() {
    return statusAt(this.state, this.minute * MINUTE);
  }
  get alerts() {
    return this.last?.alerts;
  }
}

/** A machine that has sealed a key at minute 0 in boot `a`. */
function sealed(policy: Partial<Policy> = {}): Story {
  const story = new Story(policy);
  story.seal();
  return story;
}

function expectAll(
  t: Test,
  steps: readonly (readonly [got: unknown, wanted: unknown, title: string])[],
): void {
  for (const [got, wanted, title] of steps) t.same(got, wanted, title);
  t.end();
}

t.test('no lease runs before there is anything to lose', (t) => {
  const story = new Story();
  t.equal(story.at(10_000).status, 'armed');
  t.equal(story.seal(), null);
  t.equal(leaseLeftMs(story.state, 10_000 * MINUTE), 15 * MINUTE);
  t.end();
});

t.test('a lease ends at its very instant, and is renewed by the proof alone', (t) => {
  const story = sealed();
  t.equal(story.at(14).alive('a', false), null, 'without the proof it is seen');
  t.equal(story.at(15 - 1e-9).status, 'armed');
  t.equal(story.at(15).status, 'locked');
  const kept = sealed();
  kept.at(14).alive();
  t.equal(kept.at(28).status, 'armed');
  t.equal(kept.at(29).status, 'locked');
  t.equal(sealed({ leaseMs: 0 }).at(1e6).status, 'armed', 'none with 0');
  t.end();
});

t.test('a keep-alive that comes late', (t) => {
  const outage = sealed().at(60);
  expectAll(t, [
    [outage.alive(), null, 'of the same boot, and nobody asked: armed again'],
    [outage.alerts, ['rearmed'], 'which is told'],
    [outage.status, 'armed', ''],
    [sealed({ lateKeepalive: 'lock' }).at(60).alive(), 'locked', 'unless the policy says lock'],
    [sealed().at(60).alive('a', false), 'locked', 'not without the proof'],
    [sealed().at(60).alive('other'), 'locked', 'not of another boot'],
    [
      [sealed().at(60)].map((s) => [s.recover(), s.alive()])[0],
      ['locked', 'locked'],
      'not once somebody asked',
    ],
    [
      [sealed().at(60)].map((s) => [s.alive('a', false), s.alive()])[0],
      ['locked', null],
      'seen before is no matter',
    ],
  ]);
});

t.test('boots', (t) => {
  const story = sealed();
  expectAll(t, [
    [story.at(1).recover('b'), null, 'the first'],
    [leaseLeftMs(story.state, MINUTE), 15 * MINUTE, 'has its grace, not a sum'],
    [story.at(2).recover('b'), null, 'a repeated request within two minutes'],
    [story.at(3.1).recover('b'), 'count-used', 'not later'],
    [story.at(4).recover('b', 'k2'), null, 'another key'],
    [leaseLeftMs(story.state, 4 * MINUTE), 12 * MINUTE, 'does not extend anything'],
    [story.at(5).recover('c'), null, 'one boot more'],
    [story.at(6).recover('d'), 'locked', 'and then it is locked'],
    [story.alerts, ['locked', 'refused'], ''],
    [story.at(7).alive('d'), 'locked', 'for the operator alone to undo'],
    [story.allow(), null, ''],
    [story.at(8).recover('e'), null, 'who has done so'],
  ]);
});

t.test('a keep-alive with proof gives its boots back', (t) => {
  const story = sealed();
  for (let boot = 1; boot < 20; boot++) {
    t.equal(story.at(boot * 10).recover(`b${boot}`), null);
    t.equal(story.at(boot * 10 + 5).alive(`b${boot}`), null);
  }
  t.end();
});

t.test('an announced reboot', (t) => {
  const story = sealed({ leaseMs: 2 * MINUTE, bootGraceMs: 2 * MINUTE });
  t.equal(story.announce(8), null);
  t.same(story.alerts, ['announced']);
  t.equal(story.at(7).recover('b'), null, 'is not held against it, though the lease would have ended');
  t.equal(story.state.bootsWithoutProof, 1, 'it is the boot that was to come');
  t.equal(sealed().announce(11), 'count-used', 'at most ten minutes ahead');
  t.equal(sealed().announce(5, false), 'unknown', 'not without the proof');
  t.equal(sealed({ selfExpect: 'never' }).announce(), 'count-used', 'not where the policy says never');
  t.equal(sealed().at(20).announce(), 'locked');
  const moved = sealed({ leaseMs: 60 * MINUTE });
  moved.announce();
  moved.at(1).recover('b', 'k1', '198.51.100.7');
  t.equal(moved.state.bootsWithoutProof, 1, 'from elsewhere it counts');
  const often = sealed({ leaseMs: 0 });
  for (let i = 0; i < 4; i++) t.equal(often.at(i * 60).announce(), null);
  t.equal(often.at(300).announce(), 'count-used', 'four a day');
  t.equal(often.at(24 * 60).announce(), null, 'and again after a day');
  t.end();
});

t.test('boots that an operator expects', (t) => {
  const story = sealed();
  story.tell({ type: 'expect', boots: 3, withinMs: 60 * MINUTE });
  for (let boot = 0; boot < 4; boot++) t.equal(story.at(boot * 10).recover(`b${boot}`), null, `boot ${boot}`);
  t.equal(story.at(31).recover('b4'), 'locked', 'three, and one more');
  t.throws(() => story.tell({ type: 'expect', boots: 1, withinMs: MINUTE }), {
    code: 'refused',
    message: /locked/,
  });
  t.end();
});

t.test('an approval is for one request', (t) => {
  const story = sealed({ approval: 'manual' });
  t.equal(story.at(1).recover(), 'approval-pending');
  t.same(story.alerts, ['approval-pending']);
  t.equal(story.recover(), 'approval-pending');
  t.same(story.alerts, [], 'asked again is not told again');
  t.equal(story.state.pending.length, 1);
  t.throws(() => story.tell({ type: 'approve', requestId: 'r9' }), { code: 'usage' });
  const [{ id = '' } = {}] = story.state.pending;
  story.tell({ type: 'approve', requestId: id });
  t.equal(story.recover('other boot'), 'approval-pending', 'not for another boot');
  t.equal(story.recover('b', 'k2'), 'approval-pending', 'not for another key');
  t.equal(story.recover('b', 'k1', '198.51.100.7'), 'approval-pending', 'not from elsewhere');
  t.equal(story.recover(), null);
  for (const { id } of story.state.pending) story.tell({ type: 'deny', requestId: id });
  t.same(story.state.pending, []);
  t.equal(story.at(5).recover(), 'count-used', 'it is used up');
  for (let i = 0; i < 40; i++) story.recover('b', `x${i}`);
  t.equal(story.state.pending.length, 16, 'a flood does not fill the store');
  t.end();
});

t.test('from where', (t) => {
  const story = sealed({ allowedFrom: ['192.0.2.0/24'] });
  t.equal(story.recover('b', 'k1', '198.51.100.7'), 'not-allowed-from');
  t.equal(story.alive('a', true, '198.51.100.7'), 'not-allowed-from');
  t.equal(story.recover('b', 'k1', '::ffff:192.0.2.9'), null);
  t.end();
});

t.test('a Tang client tells no boot: the lease alone decides', (t) => {
  const story = sealed({ bootGraceMs: 0 });
  for (let i = 0; i < 14; i++) t.equal(story.at(i).recover(null), null);
  t.equal(story.at(15).recover(null), 'locked');
  t.end();
});

t.test('revoked is for ever', (t) => {
  const story = sealed();
  story.tell({ type: 'revoke' });
  t.same(story.alerts, ['revoked']);
  t.same(story.state.alive, {});
  for (const got of [story.recover(), story.alive(), story.seal(), story.announce()]) t.equal(got, 'revoked');
  for (const event of [{ type: 'allow', confirmed: true }, { type: 'lock' }, { type: 'rejoin' }] as const)
    t.throws(() => story.tell(event), { code: 'refused', message: /revoked, for ever/ });
  t.equal(story.tell({ type: 'revoke' }), null, 'twice is no harm');
  t.same(story.alerts, []);
  story.tell({ type: 'restore' });
  t.equal(story.status, 'revoked');
  t.end();
});

t.test('restored and rejoined machines are locked until an operator allows them', (t) => {
  for (const type of ['restore', 'rejoin'] as const) {
    const story = sealed();
    story.tell({ type });
    t.equal(story.recover(), 'locked');
    t.equal(story.alive(), 'locked');
    t.equal(story.seal(), 'locked');
    if (type === 'rejoin') t.throws(() => story.allow(), { code: 'refused', message: /confirmed/ });
    story.allow(type === 'rejoin');
    t.equal(story.recover(), null);
  }
  t.end();
});

t.test('a new key has to be confirmed, whatever else is said of the machine', (t) => {
  const story = sealed();
  story.tell({ type: 'rejoin' });
  story.tell({ type: 'lock' });
  t.throws(() => story.allow(), { code: 'refused' });
  story.allow(true);
  t.equal(story.seal('n', 'k2'), null, 'it may start over, as it may have lost what proves it');
  t.equal(story.seal('n', 'k3'), 'unknown', 'once');
  story.tell({ type: 'lock' });
  t.equal(story.allow(), null, 'the next time it is the same machine');
  t.end();
});

t.test('only the first key is sealed without a proof', (t) => {
  const story = sealed();
  expectAll(t, [
    [story.at(14).seal('x', 'thief'), 'unknown', 'a thief would stay armed by his own'],
    [story.state.alive, { k1: 'hash' }, ''],
    [story.seal('x', 'k1'), 'unknown', 'nor replaces he one'],
    [story.at(15).status, 'locked', 'and gains no time'],
    [sealed().at(14).seal('a', 'k2', true), null, 'with one it is'],
    [
      [sealed().at(14)].map((s) => [s.seal('a', 'k2', true), s.at(28).status])[0],
      [null, 'armed'],
      'as good as alive',
    ],
  ]);
});

t.test('a late proof is worth nothing once another boot was released', (t) => {
  const theirs = sealed();
  t.equal(theirs.at(5).recover('x'), null);
  t.equal(theirs.at(60).alive('a'), 'locked', 'somebody else has booted since');
  const refusedBefore = sealed({ approval: 'manual' });
  t.equal(refusedBefore.at(5).recover('x'), 'approval-pending');
  t.equal(refusedBefore.at(60).alive('a'), 'locked', 'or has asked to');
  const away = sealed({ allowedFrom: [HOME] });
  t.equal(away.at(5).recover('x', 'k1', '198.51.100.7'), 'not-allowed-from');
  t.equal(away.at(60).alive('a'), 'locked', 'or has asked from elsewhere');
  const own = sealed();
  t.equal(own.at(5).recover('b'), null);
  t.equal(own.at(60).alive('b'), null, 'the boot that was released is the machine');
  const tang = sealed({ allowedFrom: [HOME] });
  tang.alive(null as unknown as string);
  t.equal(tang.at(5).recover(null, 'k1', '198.51.100.7'), 'not-allowed-from');
  t.equal(
    tang.at(60).alive(null as unknown as string),
    null,
    'whoever asks a Tang face from elsewhere is nobody',
  );
  t.end();
});

t.test('an announcement is for one boot, from the same address, and for nothing else', (t) => {
  const short = { leaseMs: 2 * MINUTE, bootGraceMs: 2 * MINUTE };
  const elsewhere = sealed(short);
  elsewhere.announce(8);
  t.equal(elsewhere.at(7).status, 'armed');
  t.equal(elsewhere.recover('x', 'k1', '198.51.100.7'), 'locked', 'not from elsewhere beyond the lease');
  t.same(elsewhere.alerts, ['locked', 'refused']);
  const same = sealed(short);
  same.announce(8);
  t.equal(same.at(7).recover('a', 'k2'), 'locked', 'not for the boot that announced it');
  const twice = sealed(short);
  twice.announce(8);
  t.equal(twice.at(3).recover('b'), null);
  t.equal(twice.at(4.5).recover('c'), null, 'one more, as always');
  t.equal(twice.at(5).recover('d'), 'locked');
  const over = sealed(short);
  over.announce(8);
  t.equal(over.at(8).status, 'locked', 'and at its very instant it is over');
  const back = sealed(short);
  back.announce(8);
  t.equal(back.at(0.5).alive('a'), null, 'the old boot’s last words do not end it');
  t.equal(back.at(7).alive('b'), null, 'the new one’s first do: it came up without us');
  t.equal(back.at(9).status, 'locked');
  t.end();
});

t.test('boots that are expected keep a machine armed no longer than until they have come', (t) => {
  const story = sealed();
  story.tell({ type: 'expect', boots: 1, withinMs: 4320 * MINUTE });
  t.equal(story.at(3000).recover('b'), null);
  t.equal(story.at(3001).alive('b'), null);
  t.equal(story.at(3015).status, 'armed');
  t.equal(story.at(3016).status, 'locked');
  t.end();
});

t.test('an approval is not a span of time', (t) => {
  const story = sealed({ approval: 'manual', leaseMs: 0 });
  t.equal(story.at(1).recover(), 'approval-pending');
  t.equal(story.at(2.9).recover(), 'approval-pending', 'it still asks');
  story.at(4.8).tell({ type: 'approve', requestId: 'r1' });
  t.equal(story.at(4.9).recover(), 'approval-pending', 'approved too late: who asks now is somebody else');
  t.same(story.alerts, ['approval-pending']);
  t.throws(() => story.at(6.9).tell({ type: 'approve', requestId: 'r3' }), { code: 'usage' });
  t.end();
});

t.test('at the very end of two minutes a request is no repetition', (t) => {
  const story = sealed();
  story.at(1).recover('b');
  t.equal(story.at(3 - 1e-9).recover('b'), null);
  t.equal(story.at(3).recover('b'), 'count-used');
  t.end();
});

t.test('without a lease any number of boots is released', (t) => {
  const story = sealed({ leaseMs: 0 });
  for (let boot = 0; boot < 10; boot++) t.equal(story.at(boot).recover(`b${boot}`), null);
  t.end();
});

t.test('the same refusal is told once in ten minutes', (t) => {
  const story = sealed().at(20);
  let alerts = 0;
  for (let second = 0; second < 600; second += 5) {
    story.at(20 + second / 60).recover('b');
    alerts += story.last?.alerts.length ?? 0;
  }
  t.equal(alerts, 2, 'locked, and refused');
  story.at(30).recover('b');
  t.same(story.alerts, ['refused']);
  story.recover('b', 'k1', '198.51.100.7');
  t.same(story.alerts, ['refused'], 'from elsewhere it is another one');
  t.end();
});

t.test('a machine that was carried away learns that it is locked', (t) => {
  const story = sealed({ allowedFrom: [HOME] });
  t.equal(story.alive('a', true, '198.51.100.7'), 'not-allowed-from');
  story.tell({ type: 'lock' });
  t.equal(story.alive('a', true, '198.51.100.7'), 'locked');
  const late = sealed({ allowedFrom: [HOME] }).at(60);
  t.equal(late.alive('a', true, '198.51.100.7'), 'locked', 'and its late proof counts from home alone');
  t.equal(late.alive(), null);
  t.end();
});

t.test('a machine has at most 64 keys; what is destroyed makes room', (t) => {
  const story = sealed();
  const kept = Array.from({ length: 64 }, (_, index) => `k${index + 1}`);
  for (const kid of kept.slice(1)) t.equal(story.seal('a', kid, true), null, kid);
  t.equal(story.seal('a', 'one more', true), 'count-used');
  t.same(story.alerts, ['refused']);
  t.equal(story.seal('a', 'one more', false), 'unknown', 'who proves nothing is told nothing of it');
  story.recover('a', 'k1');
  story.recover('a', 'k2');
  t.equal(story.seal('a', 'one more', true, kept.slice(2)), null);
  const { alive, session } = story.state;
  t.same(
    Object.keys(alive),
    [...kept.slice(1), 'one more'],
    'the oldest proof of a destroyed key makes room',
  );
  t.ok(session?.released, 'that keys were released is not forgotten with the last of them');
  t.end();
});

t.test('a machine says 16 things of itself in an hour, and 16 at all once it is revoked', (t) => {
  const story = sealed();
  const claim = () => story.tell({ type: 'claim', from: '198.51.100.7' });
  for (let count = 0; count < 16; count++) t.equal(claim(), null);
  t.equal(claim(), 'count-used');
  t.same(story.alerts, []);
  t.equal(story.at(60).tell({ type: 'lock' }), null);
  t.equal(claim(), null, 'an hour later, locked and elsewhere');
  story.tell({ type: 'revoke' });
  for (let count = 0; count < 16; count++) t.equal(claim(), null, 'what it did about that');
  t.equal(story.at(1_000_000).seal(), 'revoked');
  t.equal(claim(), 'revoked');
  t.equal(story.status, 'revoked');
  t.end();
});

t.test('of refusals one machine has 16 told in ten minutes, whatever it asks for', (t) => {
  const story = sealed();
  let told = 0;
  for (let second = 0; second < 120; second++) {
    story.at(second / 60).tell({ type: 'stray', from: `192.0.2.${second}` });
    told += story.alerts?.length ?? 0;
  }
  t.equal(told, 16);
  story.at(11).tell({ type: 'stray', from: HOME });
  t.same(story.alerts, ['refused']);
  t.end();
});

t.test('each request that waits for an approval is told, and no more than 16', (t) => {
  const story = sealed({ approval: 'manual' });
  const alerts = (boot: string, kid = 'k1') => {
    t.equal(story.recover(boot, kid), 'approval-pending');
    return story.alerts;
  };
  t.same(alerts('b'), ['approval-pending']);
  t.same(alerts('b'), [], 'once');
  t.same(alerts('b', 'k2'), ['approval-pending'], 'another key is another request');
  for (let boot = 0; boot < 14; boot++) t.same(alerts(`x${boot}`), ['approval-pending']);
  t.same(alerts('y'), []);
  t.end();
});

t.test('another policy: a shorter lease ends sooner, a longer one comes with the next proof', (t) => {
  const story = sealed();
  const rule = (change: Partial<Policy>) =>
    story.tell({ type: 'policy', policy: { ...story.state.policy, ...change } });
  rule({ leaseMs: 60 * MINUTE });
  t.equal(story.at(15).status, 'locked', 'nothing is given that no proof has earned');
  rule({ leaseMs: 0 });
  t.equal(story.status, 'locked', 'nor does it arm one whose lease has ended');
  t.equal(story.state.cause, 'lease');
  story.allow();
  t.equal(story.at(10_000).status, 'armed');
  rule({ leaseMs: 30 * MINUTE });
  t.equal(leaseLeftMs(story.state, story.minute * MINUTE), 30 * MINUTE);
  rule({ leaseMs: MINUTE, bootGraceMs: 2 * MINUTE });
  t.equal(leaseLeftMs(story.state, story.minute * MINUTE), 2 * MINUTE);
  rule({ allowedFrom: ['198.51.100.0/24'] });
  t.equal(story.alive(), 'not-allowed-from');
  story.tell({ type: 'revoke' });
  t.throws(() => rule({ leaseMs: 0 }), { code: 'refused' });
  t.end();
});
