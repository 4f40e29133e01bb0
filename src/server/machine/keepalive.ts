import type { Now } from '../audit/record.ts';
import { done, type MachineEvent, type Outcome, refused } from './event.ts';
import { ANNOUNCEMENTS_PER_DAY, DAY_MS, LONGEST_ANNOUNCEMENT_MS } from './policy.ts';
import { extended, type MachineState, statusAt } from './state.ts';

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

/** An outage of the line is no theft: the machine never stopped running, and nobody asked for its key meanwhile. */
function mayRearm(state: MachineState, boot: string | null): boolean {
  const { policy, cause, askedSince, provenBoot, session } = state;
  const sameBoot = boot === provenBoot || (session !== null && boot === session.boot);
  return policy.lateKeepalive === 'rearm' && (cause === null || cause === 'lease') && !askedSince && sameBoot;
}

function proven(state: MachineState, boot: string | null, now: Now): MachineState {
  const { leaseMs } = state.policy;
  return {
    ...state,
    provenBoot: boot,
    bootsWithoutProof: 0,
    askedSince: false,
    deadlineMs: leaseMs === 0 ? null : Math.max(state.deadlineMs ?? 0, now.leaseMs + leaseMs),
  };
}

/** Who seals a key has it: that is as good as the first proof, and starts the lease. */
export function register(state: MachineState, event: Of<'register'>, now: Now): Outcome {
  if (statusAt(state, now.leaseMs) === 'locked') return refused(state, 'locked');
  const alive = { ...state.alive, [event.kid]: event.alive };
  const started = state.deadlineMs === null ? proven(state, event.boot, now) : state;
  return done({ ...started, alive });
}

export function createKey(state: MachineState, now: Now): Outcome {
  return statusAt(state, now.leaseMs) === 'locked' ? refused(state, 'locked') : done(state);
}

/**
 * The machine is about to reboot. That boot is not held against it, and its lease lasts until it is there again; it
 * takes the alive proof, so nobody who has the identity alone can go on like this.
 */
export function announce(state: MachineState, event: Of<'announce'>, now: Now): Outcome {
  if (statusAt(state, now.leaseMs) === 'locked') return refused(state, 'locked');
  const announcedMs = state.announcedMs.filter((atMs) => now.leaseMs - atMs < DAY_MS);
  const tooMany = announcedMs.length >= ANNOUNCEMENTS_PER_DAY;
  const tooFar = event.withinMs > LONGEST_ANNOUNCEMENT_MS;
  if (!event.proven || state.policy.selfExpect === 'never' || tooMany || tooFar) {
    return refused(state, 'count-used', 'refused');
  }
  const expected = { boots: 1, untilMs: now.leaseMs + event.withinMs, from: event.from };
  return done(
    {
      ...state,
      announcedMs: [...announcedMs, now.leaseMs],
      // What an operator expects is more.
      expected: isOver(state, now) || state.expected?.from !== null ? expected : state.expected,
      deadlineMs: extended(state, now.leaseMs, event.withinMs),
    },
    'announced',
  );
}

function isOver({ expected }: MachineState, now: Now): boolean {
  return expected === null || expected.boots === 0 || now.leaseMs >= expected.untilMs;
}
