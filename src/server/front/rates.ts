import { addressGroup } from '../../base/address-group.ts';
import { serverLimits } from '../../base/server-limits.ts';
import { type Rate, RateLimit } from './rate-limit.ts';

export interface RateSettings {
  /** Connections from one address. */
  readonly handshakes: Rate;
  /** Requests from one address. */
  readonly fromAddress: Rate;
  /** Requests of one machine. */
  readonly ofMachine: Rate;
}

export const defaultRates: RateSettings = {
  handshakes: { perSecond: serverLimits.handshakesPerSecond, burst: serverLimits.handshakeBurst },
  fromAddress: {
    perSecond: serverLimits.requestsPerSecondFromAddress,
    burst: serverLimits.requestBurstFromAddress,
  },
  ofMachine: {
    perSecond: serverLimits.requestsPerSecondOfMachine,
    burst: serverLimits.requestBurstOfMachine,
  },
};

const strangerLines: Rate = {
  perSecond: serverLimits.strangerLinesPerSecond,
  burst: serverLimits.strangerLineBurst,
};
const allStrangerLines: Rate = {
  perSecond: serverLimits.strangerLinesPerSecondOfAll,
  burst: serverLimits.strangerLineBurstOfAll,
};

/** How much one address, and one machine, may ask. Of what is refused the first is told, and not each of a flood. */
export interface Rates {
  /** @param tell is given a line when this address just began to be too fast */
  admits(address: string, nowMs: number, tell: (line: string) => void): boolean;
  /** Whether a line of the log may be spent on what a stranger did; `just-over`: the last one for a while. */
  tells(address: string, nowMs: number): 'taken' | 'over' | 'just-over';
  /**
   * @param machine who asks, as it is told; null for a stranger, who has the address's rate alone
   * @returns null when the request may go on; else what is too much, and whether that is news
   */
  excess(
    address: string,
    machine: string | null,
    nowMs: number,
  ): { readonly reason: string; readonly isNews: boolean } | null;
}

export function ratesOf({ handshakes, fromAddress, ofMachine }: RateSettings): Rates {
  const perAddress = {
    handshakes: new RateLimit(handshakes, serverLimits.rateEntries),
    requests: new RateLimit(fromAddress, serverLimits.rateEntries),
  };
  const machines = new RateLimit(ofMachine, serverLimits.rateEntries);
  const lines = new RateLimit(strangerLines, serverLimits.rateEntries);
  const allLines = new RateLimit(allStrangerLines, 1);
  return {
    tells(address, nowMs) {
      const one = lines.take(addressGroup(address), nowMs);
      return one === 'taken' ? allLines.take('', nowMs) : one;
    },
    admits(address, nowMs, tell) {
      const group = addressGroup(address);
      const taken = perAddress.handshakes.take(group, nowMs);
      if (taken === 'just-over') tell(`${group}: too many connections, those beyond are closed`);
      return taken === 'taken';
    },
    excess(address, machine, nowMs) {
      const group = addressGroup(address);
      const one = perAddress.requests.take(group, nowMs);
      if (one !== 'taken') return { reason: `too many requests from ${group}`, isNews: one === 'just-over' };
      if (machine === null) return null;
      const other = machines.take(machine, nowMs);
      if (other === 'taken') return null;
      return { reason: `too many requests of ${machine}`, isNews: other === 'just-over' };
    },
  };
}
