import type { Now } from '../audit/record.ts';
import { done, type MachineEvent, type Outcome, refused } from './event.ts';
import { ANNOUNCEMENTS_PER_DAY, DAY_MS, LONGEST_ANNOUNCEMENT_MS } from './policy.ts';
import { isAwaited, type MachineState, statusAt } from './state.ts';

type Of<T extends MachineEvent['type']> = Extract<MachineEvent, { type: T }>;

/** Only the alive proof keeps a machine armed; without it a keep-alive says that somebody with its identity is there. */
export function keepalive(state: MachineState, event: Of<'keepalive'>, now: Now): Outcome {
  const isArmed = statusAt(state, now.leaseMs) === 'armed';
  if (isArmed) return done(event.proven ? proven(state, event.boot, now) : state);
  if (event.proven && mayRearm(state, event.boot)) {
    return done(proven({ ...state, status: 'armed', cause: null }, event.boot, now), 'rearmed');
  }
  // That the lease ended is told when the first one meets it.
  const alerts = state.status === 'armed' ? (['locked'] as const) : [];
  return refused({ ...state, status: 'locked', cause: state.cause ?? 'lease' }, 'locked', ...alerts);
}

/** An outage of the line is no theft: the boot that was known runs on, and nobody asked for its keys meanwhile. */
function mayRearm({ policy, cause, askedSince, knownBoot }: MachineState, boot: string | null): boolean {
  const isLease = cause === null || cause === 'lease';
  return policy.lateKeepalive === 'rearm' && isLease && !askedSince && boot === knownBoot;
}

/** Who has opened the key has a whole lease from now, whatever else would have lasted longer, and all boots again. */
export function proven(state: MachineState, boot: string | null, now: Now): MachineState {
  const { policy, expected } = state;
  // The old boot's last words do not end the announcement that it made.
  const hasCome = expected !== null && expected.announcedIn !== null && expected.announcedIn !== boot;
  return {
    ...state,
    knownBoot: boot,
    bootsWithoutProof: 0,
    askedSince: false,
    mayStartOver: false,
    expected: hasCome ? null : expected,
    deadlineMs: policy.leaseMs === 0 ? null : now.leaseMs + policy.leaseMs,
  };
}

/**
 * The machine is about to reboot: it stays armed for that one boot, from the same address, beyond its lease. It takes
 * the alive proof, so nobody who has the identity alone can go on like this.
 */
export function announce(state: MachineState, event: Of<'announce'>, now: Now): Outcome {
  if (statusAt(state, now.leaseMs) === 'locked') return refused(state, 'locked');
  const announcedMs = state.announcedMs.filter((atMs) => now.leaseMs - atMs < DAY_MS);
  const tooMany = announcedMs.length >= ANNOUNCEMENTS_PER_DAY;
  const tooFar = event.withinMs > LONGEST_ANNOUNCEMENT_MS;
  if (!event.proven) return refused(state, 'unknown', 'refused');
  if (state.policy.selfExpect === 'never' || tooMany || tooFar) {
    return refused(state, 'count-used', 'refused');
  }
  const untilMs = now.leaseMs + event.withinMs;
  const expected = { boots: 1, untilMs, from: event.from, announcedIn: event.boot };
  return done(
    {
      ...state,
      announcedMs: [...announcedMs, now.leaseMs],
      // What an operator expects is more.
      expected: isAwaited(state, now.leaseMs) && state.expected?.from === null ? state.expected : expected,
    },
    'announced',
  );
}
