import { createECDH, randomBytes } from 'node:crypto';
import t from 'tap';
import { bigIntToBytes, bytesToBigInt } from '../../src/base/bytes.ts';
import {
  add,
  type Curve,
  curves,
  type EcPoint,
  negative,
  pointOn,
  pointWithX,
} from '../../src/exchange/curve.ts';

/** k·G as OpenSSL computes it. */
function multiple(curve: Curve, scalar: bigint): EcPoint {
  const ecdh = createECDH(curve.name === 'P-256' ? 'prime256v1' : 'secp521r1');
  ecdh.setPrivateKey(bigIntToBytes(scalar, curve.coordinateBytes));
  const bytes = ecdh.getPublicKey();
  const [x, y] = [1, 1 + curve.coordinateBytes].map((at) =>
    bytesToBigInt(bytes.subarray(at, at + curve.coordinateBytes)),
  );
  const point = x !== undefined && y !== undefined ? pointOn(curve, x, y) : null;
  if (point === null) throw new Error('OpenSSL and we disagree about the curve');
  return point;
}

/** Far below both orders, so that sums need no reduction. */
function scalar(): bigint {
  return bytesToBigInt(randomBytes(24)) + 1n;
}

for (const curve of Object.values(curves)) {
  t.test(curve.name, (t) => {
    for (let round = 0; round < 20; round++) {
      const [a, b] = [scalar(), scalar()];
      t.same(add(multiple(curve, a), multiple(curve, b)), multiple(curve, a + b), 'addition');
    }
    const k = scalar();
    const point = multiple(curve, k);
    t.same(add(point, point), multiple(curve, 2n * k), 'doubling');
    t.equal(add(point, negative(point)), null, 'infinity');
    t.same(negative(negative(point)), point);
    for (let round = 0; round < 20; round++) {
      const one = multiple(curve, scalar());
      const found = pointWithX(curve, one.x);
      t.ok(found !== null && (found.y === one.y || found.y === negative(one).y), 'from x, up to the sign');
    }
    t.end();
  });

  t.test(`${curve.name}: what is not on the curve`, (t) => {
    const { x, y } = multiple(curve, 7n);
    t.equal(pointOn(curve, x, y + 1n), null);
    t.equal(pointOn(curve, x + 1n, y), null);
    t.equal(pointOn(curve, 0n, 0n), null);
    t.equal(pointOn(curve, x + curve.p, y), null, 'a coordinate out of range');
    t.equal(pointOn(curve, x, y + curve.p), null);
    t.equal(pointOn(curve, x, -y), null);
    // About half of all x have no point.
    const absent = Array.from({ length: 64 }, (_, at) => pointWithX(curve, BigInt(at)));
    t.ok(absent.includes(null) && absent.some((found) => found !== null));
    t.end();
  });
}
