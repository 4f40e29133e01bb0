import { bigIntToBytes, bytesToBigInt } from '../base/bytes.ts';
import { Secret } from '../base/secret.ts';
import { generateEphemeral } from './agreement.ts';
import { add, type EcPoint, negative, pointWithX } from './curve.ts';

/**
 * The client's side of the McCallum-Relyea exchange. At sealing, with C = c·G thrown away and the server's key
 * S = s·G, the shared point was K = c·S = s·C. To get it back without showing C or K, the server is asked to
 * multiply X = C + E, where E = e·G is fresh; of its answer Y = s·X = K + e·S the client takes e·S away.
 */
export interface Recovery {
  /** X, all that the server sees. */
  readonly blinded: EcPoint;
  /**
   * ECDH gives e·S up to its sign, so there are two differences; the one that opens the sealed key was right.
   * @param answer Y, on the same curve
   * @returns the x coordinate of each, as ECDH-ES takes it
   */
  unblind(answer: EcPoint): Promise<Secret[]>;
}

/**
 * Starts to compute e·S at once, in another thread, so that it is there when the answer comes.
 * @param epk C, the sealed key's own point
 * @param serverKey S, on the same curve
 */
export function startRecovery(epk: EcPoint, serverKey: EcPoint): Recovery {
  const { curve } = epk;
  const ephemeral = generateEphemeral(curve);
  const blinded = add(epk, ephemeral.point);
  // E = −C, once in 2^256.
  if (blinded === null) return startRecovery(epk, serverKey);
  const mask = ephemeral.agree(serverKey).then((shared) => {
    using x = shared;
    return pointWithX(curve, bytesToBigInt(x.reveal()));
  });
  // Whoever gets no answer never asks for it.
  mask.catch(() => {});
  return {
    blinded,
    async unblind(answer) {
      const point = await mask;
      if (point === null) throw new Error('ECDH gave an x coordinate that is not on the curve');
      return [add(answer, negative(point)), add(answer, point)]
        .filter((difference) => difference !== null)
        .map(({ x }) => new Secret(bigIntToBytes(x, curve.coordinateBytes)));
    },
  };
}
