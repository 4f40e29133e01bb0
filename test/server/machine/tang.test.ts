import fc from 'fast-check';
import t from 'tap';
import type { Event } from '../../../src/server/machine/event.ts';
import { defaultPolicy, type Policy } from '../../../src/server/machine/policy.ts';
import { joined, type MachineState, statusAt } from '../../../src/server/machine/state.ts';
import { transition } from '../../../src/server/machine/transition.ts';

const MINUTE = 60_000;
const policy: Policy = {
  ...defaultPolicy,
  bootGraceMs: 0,
  selfExpect: 'never',
  allowedFrom: ['192.0.2.0/24'],
};
const invited: MachineState = { ...joined(policy), alive: { k: 'h' } };
const [here, elsewhere] = ['192.0.2.1', '198.51.100.7'];

const from = fc.constantFrom(here, elsewhere);
const requestId = fc.uuid();
/** What anybody can ask who has seen the LUKS header. */
const asked: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    type: fc.constant('recover'),
    kid: fc.constant('k'),
    requestId,
    boot: fc.constant(null),
    from,
  }),
  fc.record({ type: fc.constant('advertise'), from }),
);

function at(minutes: number) {
  return { leaseMs: minutes * MINUTE, wallMs: 0 };
}

t.test('a Tang client’s lease starts when it may first seal a key', async (t) => {
  t.equal(statusAt(invited, 60 * MINUTE), 'armed');
  const { state: stays } = transition(invited, { type: 'advertise', from: elsewhere }, at(0));
  t.equal(stays.deadlineMs, null, 'not by a stranger');
  const { state } = transition(invited, { type: 'advertise', from: here }, at(60));
  t.equal(state.deadlineMs, 75 * MINUTE);
  t.equal(transition(state, { type: 'advertise', from: here }, at(61)).state.deadlineMs, 75 * MINUTE);
  t.match(transition(state, { type: 'advertise', from: here }, at(75)), { refusal: 'locked' });
  const endless = { ...invited, policy: { ...policy, leaseMs: 0 } };
  t.equal(transition(endless, { type: 'advertise', from: here }, at(60)).state.deadlineMs, null);
});

t.test('no sequence of requests without the secret keeps a Tang client armed beyond its lease', async (t) => {
  const steps = fc.array(fc.tuple(fc.nat({ max: 3 * MINUTE }), asked), { maxLength: 60, size: 'max' });
  let released = 0;
  fc.assert(
    fc.property(steps, (sequence) => {
      const proof = { type: 'keepalive', proven: true, boot: null, from: here } as const;
      let { state } = transition(invited, proof, at(0));
      let leaseMs = 0;
      for (const [stepMs, event] of sequence) {
        leaseMs += stepMs;
        const outcome = transition(state, event, { leaseMs, wallMs: 0 });
        state = outcome.state;
        if (outcome.refusal !== null) continue;
        released += 1;
        if (leaseMs >= policy.leaseMs) throw new Error(`granted at ${leaseMs / MINUTE} minutes`);
        if ('from' in event && event.from === elsewhere) throw new Error('granted from elsewhere');
      }
      if (statusAt(state, policy.leaseMs) !== 'locked') throw new Error('armed beyond its lease');
    }),
    { numRuns: 500 },
  );
  t.ok(released > 500);
});
