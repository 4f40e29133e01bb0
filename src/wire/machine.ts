import * as v from 'valibot';
import { limits } from '../base/limits.ts';
import { auditHead, auditSeq, base64url, boot, ecKey, kid, machineName, ms } from './field.ts';

/** What a machine and its server say to each other: one request and one response for each route, as JSON. */

/** A key as people write it: `sha256/` and SHA-256 of its SubjectPublicKeyInfo. */
const keyPin = v.pipe(v.string(), v.regex(/^sha256\/[A-Za-z0-9_-]{43}$/, 'expected sha256/BASE64URL'));

/** Each of the server's keys with its word for the next one, oldest first (src/identity/succession.ts). */
const chain = v.array(
  v.object({
    key: v.pipe(v.string(), v.maxLength(1024)),
    next: keyPin,
    signature: v.pipe(v.string(), v.maxLength(1024)),
  }),
);

/** `GET /v1/identity`. */
export const identity = { response: v.object({ chain }) };

/** `POST /v1/join`: uses an invitation up. The machine's key is that of its TLS client certificate. */
export const join = {
  request: v.strictObject({ invitation: base64url(32) }),
  response: v.object({
    name: machineName,
    status: v.picklist(['armed', 'locked']),
    /** See `identity`: of a machine that joins anew, older keys open again by it. */
    chain: v.optional(chain, []),
  }),
};

const proof = v.strictObject({ kid, proof: base64url(32) });

/**
 * `POST /v1/keys`: makes an exchange key. `alive` is SHA-256 of the alive proof that the sealed secret will give; `proof`
 * is that of another key, which all but the machine's first one take.
 */
export const createKey = {
  request: v.strictObject({
    crv: v.picklist(['P-256', 'P-521']),
    alive: base64url(32),
    boot,
    proof: v.optional(proof),
  }),
  response: v.object({ kid, key: ecKey }),
};

/** `GET /v1/keys/{kid}`. */
export const getKey = { response: createKey.response };

/** `DELETE /v1/keys/{kid}`: can be brought back for 7 days. */
export const deleteKey = { response: v.object({ kid }) };

/** `POST /v1/keys/{kid}/recover`: the server multiplies the blinded point. `evidence` has its place, and no meaning yet. */
export const recover = {
  request: v.strictObject({ point: ecKey, boot, evidence: v.optional(v.null()) }),
  response: v.object({ point: ecKey }),
};

/** `POST /v1/keepalive`. Without a proof the machine is seen and no more. */
export const keepalive = {
  request: v.strictObject({
    boot,
    proof: v.optional(proof),
    /** The newest key of the server that the machine takes. */
    'server-key': v.optional(keyPin),
  }),
  response: v.object({
    /** The newest key of the server: its own, or the one that is to follow. */
    'server-key': v.optional(keyPin),
    /** null: no lease runs. */
    'lease-left-ms': v.nullable(ms),
    'audit-head': v.nullable(auditHead),
  }),
};

/** `POST /v1/audit/digests`: SHA-256 of each record after `after`, a page of them; none = that was the last one. */
export const auditDigests = {
  request: v.strictObject({ after: auditSeq }),
  response: v.object({ digests: v.array(base64url(32)) }),
};

/** `POST /v1/expect`: the machine is about to reboot. */
export const expect = {
  request: v.strictObject({ boot, proof, 'within-ms': ms }),
  response: v.object({ 'lease-left-ms': v.nullable(ms) }),
};

/** `POST /v1/alerts`: what a machine says of itself, recorded as its claim. */
export const alert = {
  request: v.strictObject({
    kind: v.picklist(['acted', 'audit-head', 'tpm-protection-unavailable', 'journal-sealed']),
    text: v.pipe(v.string(), v.maxLength(limits.alertCharacters)),
  }),
  response: v.object({}),
};

/** `GET /v1/watch`: server-sent events, each with this as its data. `state` comes first, and after each change. */
export const watchEvent = v.object({ status: v.picklist(['armed', 'locked', 'revoked']) });
