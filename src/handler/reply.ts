import { limits } from '../base/limits.ts';
import type { Connection, Random } from '../base/ports.ts';
import type { Refusal } from './request.ts';

/** Says no in the way that helps neither this client nor who watches it. @throws AppError `stopped` */
export function refuse(connection: Connection, refusal: Refusal, random: Random): Promise<void> {
  return connection.send(refusalBytes(refusal, random), limits.replyTimeoutMs);
}

function refusalBytes(refusal: Refusal, random: Random): Uint8Array {
  if (refusal === 'random') return random.bytes(limits.volumeRefusalBytes);
  return new Uint8Array(refusal === 'over-long' ? limits.credentialRefusalBytes : 0);
}
