import {
  createECDH,
  createPrivateKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { bigIntToBytes, bytesToBigInt, fromBase64url } from '../base/bytes.ts';
import { Secret } from '../base/secret.ts';
import { add, type Curve, type EcPoint, negative, pointOn, pointWithX } from './curve.ts';
import { toJwk, toKeyObject } from './jwk.ts';

/** The server's side of the McCallum-Relyea exchange: a key S = s·G, and the answer Y = s·X to a blinded point X. */
export interface ExchangeKey {
  readonly point: EcPoint;
  /** s and s + 1, each as PKCS #8 in DER (RFC 5208), of the same length: OpenSSL reads that 40 times as fast as a JWK. */
  readonly secret: Secret;
}

const openSslName = { 'P-256': 'prime256v1', 'P-521': 'secp521r1' } as const;

export function generateExchangeKey(curve: Curve): ExchangeKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: curve.name });
  const { d = '' } = privateKey.export({ format: 'jwk' });
  using scalar = new Secret(fromBase64url(d) ?? Buffer.alloc(0));
  using next = new Secret(bigIntToBytes(bytesToBigInt(scalar.reveal()) + 1n, curve.coordinateBytes));
  const [one, other] = [keyOf(curve, scalar), keyOf(curve, next)];
  const [first, second] = [one, other].map(({ key }) => key.export({ format: 'der', type: 'pkcs8' }));
  const both = Buffer.concat([first ?? Buffer.alloc(0), second ?? Buffer.alloc(0)]);
  first?.fill(0);
  second?.fill(0);
  return { point: one.point, secret: Secret.takeFrom(both) };
}

/** @throws Error from OpenSSL unless 0 < scalar < the group's order: for s + 1 that fails once in 2^256 */
function keyOf(curve: Curve, scalar: Secret): { key: KeyObject; point: EcPoint } {
  const ecdh = createECDH(openSslName[curve.name]);
  ecdh.setPrivateKey(scalar.reveal());
  // Uncompressed, SEC 1 §2.3.3: 0x04 ‖ x ‖ y.
  const open = ecdh.getPublicKey();
  const [x, y] = [1, 1 + curve.coordinateBytes].map((at) =>
    bytesToBigInt(open.subarray(at, at + curve.coordinateBytes)),
  );
  const point = pointOn(curve, x ?? 0n, y ?? 0n);
  if (point === null) throw new Error('OpenSSL made a point that is not on its curve');
  const d = scalar.reveal().toString('base64url');
  return { point, key: createPrivateKey({ key: { ...toJwk(point), d }, format: 'jwk' }) };
}

/**
 * Y = s·X. ECDH gives its x coordinate alone, which leaves two points, Y and −Y: of these the right one is that to
 * which X must be added to come to (s + 1)·X.
 * @param secret of the key that was asked for
 * @param blinded X, on the key's curve: the curves have prime order, so there is no other check to make
 */
export async function answerTo(secret: Secret, blinded: EcPoint): Promise<EcPoint> {
  const both = secret.reveal();
  const publicKey = toKeyObject(blinded);
  const [x, next] = await Promise.all([
    multiplied(both.subarray(0, both.length / 2), publicKey),
    multiplied(both.subarray(both.length / 2), publicKey),
  ]);
  const point = pointWithX(blinded.curve, x);
  if (point === null) throw new Error('ECDH gave an x coordinate that is not on the curve');
  return add(point, blinded)?.x === next ? point : negative(point);
}

function multiplied(pkcs8: Buffer, publicKey: KeyObject): Promise<bigint> {
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return new Promise((resolve, reject) => {
    diffieHellman({ privateKey, publicKey }, (error, shared) => {
      if (error !== null) return reject(error);
      resolve(bytesToBigInt(shared));
      shared.fill(0);
    });
  });
}
