import type { Secret } from '../base/secret.ts';
import type { PinUse } from '../pins/pin.ts';
import { aliveProof } from '../pins/remote.ts';

/** Keeps a proof for the keep-alive daemon until the next boot. @throws AppError `unavailable` */
export type LeaveProof = (serverPin: Buffer, kid: string, proof: Buffer) => void;

/** Leaves the alive proof for each key server that had a part in this key: only who has opened it can make one. */
export function leaveProofs(key: Secret, uses: readonly PinUse[], leave: LeaveProof): void {
  for (const { server, kid } of uses) {
    if (server !== undefined && kid !== undefined) leave(server, kid, aliveProof(key, server));
  }
}
