import fc from 'fast-check';
import t from 'tap';
import type { Event } from '../../../src/server/machine/event.ts';
import { defaultPolicy, type Policy } from '../../../src/server/machine/policy.ts';
import { joined, type MachineState, statusAt } from '../../../src/server/machine/state.ts';
import { transition } from '../../../src/server/machine/transition.ts';

const MINUTE = 60_000;
const LEASE = 15 * MINUTE;
const GRACE = 10 * MINUTE;
const policy: Policy = { ...defaultPolicy, leaseMs: LEASE, bootGraceMs: GRACE };
const RUNS = { numRuns: 2000 };

const word = (...words: string[]) => fc.constantFrom(...words);
/** Few, so that a sequence comes back to one that it knows. */
const boot = word('a', 'b', 'c', 'd');
const from = word('192.0.2.1', '198.51.100.7');
const kid = word('k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7', 'k8');
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

/** What a thief has: the disk, the machine's identity, and so every request, but not the alive proof. */
const theft: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    type: fc.constant('recover' as const),
    kid,
    requestId: fc.uuid(),
    boot: thiefsBoot,
    from,
  }),
  fc.record({ type: fc.constant('keepalive' as const), proven: fc.constant(false), boot, from }),
  fc.record({ type: fc.constant('announce' as const), proven: fc.constant(false), withinMs, boot, from }),
  fc.record({ type: fc.constant('create-key' as const), boot, from }),
);

const anything: fc.Arbitrary<Event> = fc.oneof(
  theft,
  theft,
  theft,
  fc.record({ type: fc.constant('keepalive' as const), proven: fc.boolean(), boot, from }),
  fc.record({ type: fc.constant('announce' as const), proven: fc.boolean(), withinMs, boot, from }),
  fc.record({ type: fc.constant('register' as const), kid, alive: fc.constant('h'), boot, from }),
  fc.record({ type: word('lock', 'allow', 'allow', 'rejoin', 'restore') as fc.Arbitrary<'lock'> }),
  fc.record({ type: fc.constant('expect' as const), boots: fc.nat({ max: 3 }), withinMs }),
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
  tell(run, { type: 'register', kid: 'k1', alive: 'h', boot: 'a', from: '192.0.2.1' }, 0);
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
        if (boots.size > 2) throw new Error(`released to ${boots.size} boots`);
        if (statusAt(run.state, LEASE + 2 * GRACE) === 'armed') throw new Error('armed beyond its time');
      }),
      { numRuns: 10_000 },
    );
    t.pass();
    t.end();
  },
);

t.test(
  'nothing but time makes a machine that comes back with its proof lose its lease, and that is forgiven',
  (t) => {
    const own: fc.Arbitrary<Event> = fc.record({
      type: fc.constant('keepalive' as const),
      proven: fc.boolean(),
      boot: fc.constant('a'),
      from,
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(stepMs, wallMs, own), { maxLength: 40, size: 'max' }), (steps) => {
        const run = alive();
        for (const [step, wall, event] of steps) {
          run.leaseMs += step;
          const outcome = tell(run, event, wall);
          if (event.type === 'keepalive' && event.proven && outcome?.refusal !== null)
            throw new Error('refused');
        }
      }),
      RUNS,
    );
    t.pass();
    t.end();
  },
);

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
          if (run.state.status !== 'revoked') continue;
          if ('from' in event && outcome?.refusal !== 'revoked')
            throw new Error(`${event.type} was answered`);
        }
      };
      play(before);
      tell(run, { type: 'revoke' }, 0);
      play(after);
      if (run.state.status !== 'revoked') throw new Error(run.state.status);
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
        if (event.type !== 'recover' || outcome?.refusal !== null) continue;
        const name = `${event.boot} ${event.kid}`;
        for (const known of first.keys()) if (!known.startsWith(`${event.boot} `)) first.delete(known);
        const firstMs = first.get(name);
        if (firstMs === undefined) first.set(name, run.leaseMs);
        else if (run.leaseMs - firstMs > 2 * MINUTE) throw new Error(`${name} released again`);
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
      let longestMs = LEASE;
      for (const [step, event] of steps) {
        run.leaseMs += step;
        if (event.type === 'expect' || event.type === 'announce')
          longestMs = Math.max(longestMs, run.leaseMs + event.withinMs);
        tell(run, event, 0);
        longestMs = Math.max(longestMs, run.leaseMs + LEASE);
        if ((run.state.deadlineMs ?? 0) > longestMs)
          throw new Error(`${run.state.deadlineMs} > ${longestMs}`);
      }
    }),
    RUNS,
  );
  t.pass();
  t.end();
});
