import fc from 'fast-check';
import t from 'tap';
import type { Event } from '../../../src/server/machine/event.ts';
import { afterTombstones } from '../../../src/server/machine/operator.ts';
import {
  CLAIMS_PER_HOUR,
  defaultPolicy,
  KEYS_PER_MACHINE,
  type Policy,
  TOLD_AT_MOST,
} from '../../../src/server/machine/policy.ts';
import { armedUntilMs, joined, type MachineState, statusAt } from '../../../src/server/machine/state.ts';
import { transition } from '../../../src/server/machine/transition.ts';

const MINUTE = 60_000;
const LEASE = 15 * MINUTE;
const GRACE = 10 * MINUTE;
const policy: Policy = { ...defaultPolicy, leaseMs: LEASE, bootGraceMs: GRACE };
const RUNS = { numRuns: 2000 };

const word = <T extends string>(...words: T[]) => fc.constantFrom(...words);
/** Few, so that a sequence comes back to one that it knows. */
const boot = word('a', 'b', 'c', 'd');
const from = word('192.0.2.1', '198.51.100.7');
const kid = word('k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k8');
const kept = fc.subarray(['k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k8']);
const withinMs = fc.nat({ max: 20 * MINUTE });
/** Time only goes on; a server that was stopped has a lease clock that stood still, which is a step of 0. */
const stepMs = fc.oneof(fc.constant(0), fc.nat({ max: 3 * MINUTE }), fc.nat({ max: 20 * MINUTE }));
/** Wall time goes where it likes. */
const wallMs = fc.integer({ min: -1e12, max: 1e13 });

/** A third boot locks the machine, and the sequence has no more to tell. */
const thiefsBoot = fc.oneof(
  { weight: 20, arbitrary: fc.constant('b') },
  { weight: 4, arbitrary: fc.constant('c') },
  { weight: 1, arbitrary: fc.uuid() },
);

const type = <T extends string>(name: T) => fc.constant(name);
const unproven = fc.constant(false);
const requestId = fc.uuid();

/** What a thief has: the disk, the machine's identity, and so every request, but not the alive proof. */
const theft: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ type: type('recover'), kid, requestId, boot: thiefsBoot, from }),
  fc.record({ type: type('keepalive'), proven: unproven, boot, from }),
  fc.record({ type: type('announce'), proven: unproven, withinMs, boot, from }),
  fc.record({ type: type('register'), proven: unproven, kid, alive: fc.constant('own'), kept, boot, from }),
  fc.record({ type: word('delete-key', 'claim', 'stray'), from }),
);

const proven = fc.boolean();
const anything: fc.Arbitrary<Event> = fc.oneof(
  theft,
  theft,
  theft,
  fc.record({ type: type('keepalive'), proven, boot, from }),
  fc.record({ type: type('announce'), proven, withinMs, boot, from }),
  fc.record({ type: type('register'), kid, alive: fc.constant('h'), kept, proven, boot, from }),
  fc.record({ type: word('lock', 'rejoin', 'restore') }),
  fc.record({ type: type('allow'), confirmed: fc.boolean() }),
  fc.record({ type: type('allow'), confirmed: fc.constant(true) }),
  fc.record({ type: type('expect'), boots: fc.nat({ max: 3 }), withinMs }),
  // No longer than `policy`, by which these properties measure.
  fc.record({
    type: type('policy'),
    policy: fc
      .record({ leaseMs: fc.integer({ min: 1, max: LEASE }), bootGraceMs: fc.nat({ max: GRACE }) })
      .map((change) => ({ ...policy, ...change })),
  }),
);

interface Run {
  state: MachineState;
  leaseMs: number;
}

/** What an operator cannot ask in this state changes nothing. */
function tell(run: Run, event: Event, wall: number): ReturnType<typeof transition> | null {
  try {
    const outcome = transition(run.state, event, { leaseMs: run.leaseMs, wallMs: wall });
    run.state = outcome.state;
    return outcome;
  } catch {
    return null;
  }
}

/** A machine that was alive at the moment from which on the lease clock counts. */
function alive(): Run {
  const run = { state: joined(policy), leaseMs: 0 };
  const first = { type: 'register', kid: 'k1', alive: 'h', kept: [], proven: false, boot: 'a' } as const;
  tell(run, { ...first, from: '192.0.2.1' }, 0);
  tell(run, { type: 'keepalive', proven: true, boot: 'a', from: '192.0.2.1' }, 0);
  return run;
}

t.test(
  'no sequence of a thief’s requests keeps a machine armed beyond lease, boot-grace and one boot',
  (t) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(stepMs, wallMs, theft), { maxLength: 60, size: 'max' }), (steps) => {
        const run = alive();
        const boots = new Set<string | null>();
        for (const [step, wall, event] of steps) {
          run.leaseMs += step;
          const outcome = tell(run, event, wall);
          if (event.type !== 'recover' || outcome?.refusal !== null) continue;
          boots.add(event.boot);
          if (run.leaseMs >= LEASE + 2 * GRACE)
            throw new Error(`released at ${run.leaseMs / MINUTE} minutes`);
        }
        if (Object.values(run.state.alive).includes('own')) throw new Error('his own proof counts');
        if (boots.size > 2) throw new Error(`released to ${boots.size} boots`);
        if (statusAt(run.state, LEASE + 2 * GRACE) === 'armed') throw new Error('armed beyond its time');
      }),
      { numRuns: 10_000 },
    );
    t.pass();
    t.end();
  },
);

t.test('nor do they after anything that happened before, but for boots that were expected', (t) => {
  const steps = fc.array(fc.tuple(stepMs, wallMs, anything), { maxLength: 30, size: 'max' });
  const stolen = fc.array(fc.tuple(stepMs, wallMs, theft), { maxLength: 40, size: 'max' });
  fc.assert(
    fc.property(steps, stolen, (before, after) => {
      const run = alive();
      // What an outsider would say: each reason to be armed, and how long it lasts from when it came.
      let [untilMs, boots] = [LEASE, 2];
      for (const [step, wall, event] of before) {
        run.leaseMs += step;
        const outcome = tell(run, event, wall);
        if (outcome === null || outcome.refusal !== null || event.type === 'claim') continue;
        const lastsMs = 'withinMs' in event ? event.withinMs : LEASE;
        untilMs = Math.max(untilMs, run.leaseMs + lastsMs);
        if (event.type === 'expect') boots = Math.max(boots, 2 + event.boots);
      }
      // Between joining anew and its first proof or key a machine has nothing to tell it from a thief.
      if (run.state.mayStartOver) {
        tell(run, { type: 'keepalive', proven: true, boot: 'a', from: '192.0.2.1' }, 0);
        untilMs = Math.max(untilMs, run.leaseMs + LEASE);
      }
      const opened = new Set<string>();
      for (const [step, wall, event] of after) {
        run.leaseMs += step;
        const { session } = run.state;
        tell(run, event, wall);
        if (run.state.session !== session)
          opened.add(`${run.state.session?.boot} ${run.state.session?.openedMs}`);
      }
      // A boot's first release opens it, so that what follows in it is seen as well: it counts once.
      if (opened.size > boots + 1) throw new Error(`${opened.size} boots`);
      if (statusAt(run.state, untilMs + boots * GRACE) === 'armed') throw new Error('armed beyond its time');
    }),
    RUNS,
  );
  t.pass();
  t.end();
});

t.test('no clock step, downtime or outage locks a machine that comes back with its proof', (t) => {
  const what = word('proof', 'proof', 'no proof', 'own key', 'reboot');
  fc.assert(
    fc.property(fc.array(fc.tuple(stepMs, wallMs, what), { maxLength: 40, size: 'max' }), (steps) => {
      const run = alive();
      let [boots, since, provenMs] = [0, 0, 0];
      const from = '192.0.2.1';
      const ask = (event: Event, wall: number) => {
        const refusal = tell(run, event, wall)?.refusal;
        if (refusal !== null) throw new Error(`${event.type}: ${refusal}`);
      };
      let key = 0;
      for (const [step, wall, now] of [...steps, [1e9, 0, 'proof'] as const]) {
        run.leaseMs += step;
        const isInTime = run.leaseMs < provenMs + LEASE;
        if (now === 'reboot' && isInTime && since < 2) [boots, since] = [boots + 1, since + 1];
        else if (now === 'reboot') continue;
        const boot = `boot ${boots}`;
        const own = boots === 0 ? 'a' : boot;
        if (now === 'reboot' || (now === 'own key' && isInTime && (boots > 0 || since === 0))) {
          // A key that it has not asked for yet; the first one of a boot opens it.
          if (now === 'own key' && run.state.session?.boot !== own) continue;
          ask({ type: 'recover', kid: `own ${key++}`, requestId: 'r', boot: own, from }, wall);
        } else if (now === 'proof') {
          ask({ type: 'keepalive', proven: true, boot: own, from }, wall);
          [since, provenMs] = [0, run.leaseMs];
        } else if (now === 'no proof') tell(run, { type: 'keepalive', proven: false, boot: own, from }, wall);
      }
    }),
    RUNS,
  );
  t.pass();
  t.end();
});

t.test('a late proof arms nothing once another boot was asked for, or anything after the lease', (t) => {
  const steps = fc.array(fc.tuple(stepMs, wallMs, theft), { maxLength: 10, size: 'max' });
  fc.assert(
    fc.property(steps, fc.boolean(), (thefts, isEarly) => {
      const run = alive();
      const stranger: Event = { type: 'recover', kid: 'k1', requestId: 'r', boot: 'x', from: '198.51.100.7' };
      if (isEarly) tell(run, stranger, 0);
      run.leaseMs += LEASE + GRACE;
      if (!isEarly) tell(run, stranger, 0);
      for (const [step, wall, event] of thefts) {
        run.leaseMs += step;
        if (event.type !== 'recover') tell(run, event, wall);
      }
      const outcome = tell(run, { type: 'keepalive', proven: true, boot: 'a', from: '192.0.2.1' }, 0);
      if (outcome?.refusal !== 'locked') throw new Error(`${outcome?.refusal}`);
    }),
    RUNS,
  );
  t.pass();
  t.end();
});

t.test('wall time decides nothing', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(stepMs, wallMs, anything), { maxLength: 40, size: 'max' }), (steps) => {
      const [one, other] = [alive(), alive()];
      for (const [step, wall, event] of steps) {
        one.leaseMs += step;
        other.leaseMs += step;
        const [here, there] = [tell(one, event, wall), tell(other, event, 0)];
        if (here?.refusal !== there?.refusal) throw new Error(`${here?.refusal} and ${there?.refusal}`);
      }
    }),
    RUNS,
  );
  t.pass();
  t.end();
});

t.test('revoked is for ever, whatever follows', (t) => {
  const events = fc.array(fc.tuple(stepMs, wallMs, anything), { maxLength: 30, size: 'max' });
  fc.assert(
    fc.property(events, events, (before, after) => {
      const run = alive();
      const play = (steps: typeof before) => {
        for (const [step, wall, event] of steps) {
          run.leaseMs += step;
          const outcome = tell(run, event, wall);
          if (run.state.status !== 'revoked' || event.type === 'claim') continue;
          if ('from' in event && outcome?.refusal !== 'revoked')
            throw new Error(`${event.type} was answered`);
        }
      };
      play(before);
      const older = run.state;
      tell(run, { type: 'revoke' }, 0);
      play(after);
      if (run.state.status !== 'revoked') throw new Error(run.state.status);
      // A database that was restored, or lagged behind, knows nothing of it; the tombstones do.
      run.state = afterTombstones('id', older, new Set(['id']));
      play(after);
      if (run.state.status !== 'revoked') throw new Error(`restored: ${run.state.status}`);
      if (afterTombstones('id', older, new Set(['other'])) !== older) throw new Error('another machine');
    }),
    RUNS,
  );
  t.pass();
  t.end();
});

t.test('a key is released once in a boot, but for a request that is repeated at once', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(stepMs, anything), { maxLength: 60, size: 'max' }), (steps) => {
      const run = alive();
      const first = new Map<string, number>();
      for (const [step, event] of steps) {
        run.leaseMs += step;
        const outcome = tell(run, event, 0);
        // An operator who allows the machine begins anew, as does another boot in between.
        if (event.type === 'allow') first.clear();
        // A key that is destroyed by now cannot be asked for any more: the next of that name is another one.
        if (event.type === 'register' && outcome?.refusal === null) {
          for (const known of first.keys()) {
            const [, kid = ''] = known.split(' ');
            if (!event.kept.includes(kid)) first.delete(known);
          }
        }
        if (event.type !== 'recover' || outcome?.refusal !== null) continue;
        const name = `${event.boot} ${event.kid}`;
        for (const known of first.keys()) if (!known.startsWith(`${event.boot} `)) first.delete(known);
        const firstMs = first.get(name);
        if (firstMs === undefined) first.set(name, run.leaseMs);
        else if (run.leaseMs >= firstMs + 2 * MINUTE) throw new Error(`${name} released again`);
      }
    }),
    RUNS,
  );
  t.pass();
  t.end();
});

t.test('a deadline is never a sum: at most the longest of its reasons from now', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(stepMs, anything), { maxLength: 60, size: 'max' }), (steps) => {
      const run = alive();
      for (const [step, event] of steps) {
        run.leaseMs += step;
        const beforeMs = run.state.deadlineMs ?? 0;
        tell(run, event, 0);
        const deadlineMs = run.state.deadlineMs ?? 0;
        if (deadlineMs > Math.max(beforeMs, run.leaseMs + LEASE)) throw new Error(`${event.type}: too late`);
        if (event.type === 'recover' && deadlineMs < beforeMs) throw new Error('earlier than it was');
      }
    }),
    RUNS,
  );
  t.pass();
  t.end();
});

t.test(
  'however many keys a machine makes, it has a bounded number, and the proof of each that is left',
  (t) => {
    const step = fc.record({
      stepMs: fc.nat({ max: LEASE }),
      asks: fc.boolean(),
      /** Of the keys that are left, so many of the oldest are destroyed. */
      destroyed: fc.oneof(fc.constant(0), fc.nat({ max: 2 }), fc.nat({ max: 100 })),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 100, maxLength: 300 }), (steps) => {
        const run = alive();
        let kept = ['k1'];
        const from = '192.0.2.1';
        steps.forEach(({ stepMs, asks, destroyed }, index) => {
          run.leaseMs += stepMs;
          kept = kept.slice(destroyed);
          const kid = `n${index}`;
          // Later than its lease it comes back with its proof first.
          tell(run, { type: 'keepalive', proven: true, boot: 'a', from }, 0);
          const event = { type: 'register', kid, alive: 'h', kept, proven: true, boot: 'a', from } as const;
          const refusal = tell(run, event, 0)?.refusal;
          if (refusal !== (kept.length < KEYS_PER_MACHINE ? null : 'count-used'))
            throw new Error(`${refusal}`);
          if (refusal === null) kept = [...kept, kid];
          if (asks) tell(run, { type: 'recover', kid, requestId: 'r', boot: 'a', from }, 0);
          const known = Object.keys(run.state.alive);
          if (known.length > KEYS_PER_MACHINE) throw new Error(`${known.length} proofs`);
          if (!kept.every((each) => known.includes(each))) throw new Error('the proof of a key that is left');
        });
      }),
      { numRuns: 200 },
    );
    t.pass();
    t.end();
  },
);

t.test('who has a machine’s identity has nobody told without end, revoked or not', (t) => {
  const unknownBoot = fc.nat({ max: 1000 }).map((n) => n.toString(16));
  const anywhere = fc.ipV4();
  const flood: fc.Arbitrary<Event> = fc.oneof(
    fc.record({ type: word('claim', 'stray', 'delete-key'), from: anywhere }),
    fc.record({ type: type('recover'), kid, requestId, boot: unknownBoot, from: anywhere }),
    fc.record({ type: type('announce'), proven: unproven, withinMs, boot, from: anywhere }),
    fc.record({ type: type('revoke') }),
  );
  const approval = word('auto', 'manual');
  const HOUR = 60 * MINUTE;
  fc.assert(
    fc.property(
      approval,
      fc.array(fc.tuple(fc.nat({ max: MINUTE }), flood), { minLength: 100, maxLength: 300 }),
      (approval, steps) => {
        const run = alive();
        run.state = { ...run.state, policy: { ...policy, approval } };
        let [claims, told, sinceRevoked] = [0, 0, 0];
        for (const [step, event] of steps) {
          run.leaseMs += step;
          const wasRevoked = run.state.status === 'revoked';
          const outcome = tell(run, event, 0);
          if (outcome === null) continue;
          const isClaim = event.type === 'claim' && outcome.refusal === null;
          if (isClaim && wasRevoked) sinceRevoked++;
          else if (isClaim) claims++;
          told += outcome.alerts.filter((kind) => kind === 'refused' || kind === 'approval-pending').length;
        }
        const hours = Math.ceil(run.leaseMs / HOUR) + 1;
        if (claims > CLAIMS_PER_HOUR * hours || sinceRevoked > CLAIMS_PER_HOUR) throw new Error('claims');
        if (told > TOLD_AT_MOST * (Math.ceil(run.leaseMs / (10 * MINUTE)) + 1))
          throw new Error(`${told} told`);
        if (run.state.told.length > TOLD_AT_MOST) throw new Error('remembered without end');
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
  t.end();
});

t.test('when a machine will be locked is known beforehand, to the very instant', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(stepMs, anything), { maxLength: 40, size: 'max' }), (steps) => {
      const run = alive();
      for (const [step, event] of steps) {
        run.leaseMs += step;
        tell(run, event, 0);
        if (statusAt(run.state, run.leaseMs) !== 'armed') continue;
        const untilMs = armedUntilMs(run.state);
        if (untilMs === null) throw new Error('never');
        if (statusAt(run.state, untilMs - 1) !== 'armed') throw new Error('earlier');
        if (statusAt(run.state, untilMs) !== 'locked') throw new Error('later');
      }
    }),
    RUNS,
  );
  t.pass();
  t.end();
});
