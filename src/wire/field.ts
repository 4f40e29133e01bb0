import * as v from 'valibot';

/** `bytes` bytes in base64url, read as text: each value has one spelling, as the last character's spare bits are 0. */
export function base64url(bytes: number) {
  const rest = ['', '[A-Za-z0-9_-][AQgw]', '[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]'][bytes % 3];
  const pattern = new RegExp(`^[A-Za-z0-9_-]{${4 * Math.floor(bytes / 3)}}${rest}$`);
  return v.pipe(v.string(), v.regex(pattern, `expected ${bytes} bytes in base64url`));
}

/** A boot id: /proc/sys/kernel/random/boot_id (proc(5)). */
export const boot = v.pipe(v.string(), v.regex(/^[0-9a-f-]{1,36}$/, 'expected a boot id'));

/** An EC public key (RFC 7518 §6.2.1). That its point is on the curve is checked where it is used. */
export const ecKey = v.object({
  crv: v.picklist(['P-256', 'P-521']),
  kty: v.literal('EC'),
  x: v.pipe(v.string(), v.maxLength(88)),
  y: v.pipe(v.string(), v.maxLength(88)),
});

/** SHA-256 thumbprint of an exchange key (RFC 7638). */
export const kid = base64url(32);

/** A machine's name, as the operator chose it. */
export const machineName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'expected 1 to 63 letters, digits, dots, _ and -'),
);

/** Milliseconds, a whole number. */
export const ms = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 50));

/** A record of the server's audit log; 0 is before the first. */
export const auditSeq = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));

/** A signed head of the server's audit log (src/server/audit/heads.ts). */
export const auditHead = v.object({
  seq: auditSeq,
  hash: base64url(32),
  'wall-ms': v.number(),
  signer: base64url(32),
  signature: v.pipe(v.string(), v.maxLength(200)),
});
