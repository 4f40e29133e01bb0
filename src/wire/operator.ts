import * as v from 'valibot';
import { type ErrorCode, exitStatusOf } from '../base/errors.ts';
import { kid, machineName, ms } from './field.ts';

/** What an operator may change of a machine's policy (docs/PROTOCOL.md); what is absent stays as it is. */
export const policyChange = v.strictObject({
  'lease-ms': v.optional(ms),
  'boot-grace-ms': v.optional(ms),
  'late-keepalive': v.optional(v.picklist(['rearm', 'lock'])),
  'self-expect': v.optional(v.picklist(['reboot', 'never'])),
  approval: v.optional(v.picklist(['auto', 'manual'])),
  'allowed-from': v.optional(v.array(v.string())),
});

const requestId = v.pipe(v.string(), v.maxLength(64));

/** `POST /v1/operator` on the operator's socket: one request for each command of luks-key-server. */
export const operatorRequest = v.variant('command', [
  v.strictObject({
    command: v.literal('invite'),
    name: machineName,
    policy: policyChange,
    /** For a machine that is known, and gets a new key. */
    rejoin: v.boolean(),
  }),
  v.strictObject({ command: v.literal('invite-tang'), name: machineName, policy: policyChange }),
  v.strictObject({ command: v.literal('list'), after: v.string() }),
  v.strictObject({ command: v.literal('show'), name: machineName }),
  v.strictObject({ command: v.picklist(['lock', 'revoke']), name: machineName }),
  v.strictObject({
    command: v.literal('allow'),
    name: machineName,
    /** Of the machine's client key, `sha256/BASE64URL`: confirms one that joined anew. */
    fingerprint: v.optional(v.string()),
  }),
  v.strictObject({
    command: v.literal('expect'),
    name: machineName,
    boots: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)),
    'within-ms': ms,
  }),
  v.strictObject({ command: v.literal('policy'), name: machineName, policy: policyChange }),
  /** Brings a key back that the machine has deleted. */
  v.strictObject({ command: v.literal('undelete'), name: machineName, kid }),
  v.strictObject({ command: v.picklist(['approve', 'deny']), name: machineName, 'request-id': requestId }),
  v.strictObject({ command: v.literal('audit'), after: ms }),
  v.strictObject({ command: v.literal('heads'), after: ms }),
  v.strictObject({
    command: v.literal('backup'),
    /** base64url: any bytes, up to 1 KiB. */
    passphrase: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{2,1366}$/, 'expected 1 to 1024 bytes')),
  }),
  v.strictObject({ command: v.picklist(['rotate-master', 'doctor', 'identity']) }),
  /** `now`: without waiting for machines that have not heard of the next key. */
  v.strictObject({ command: v.literal('rotate-identity'), now: v.boolean() }),
]);

export type OperatorRequest = v.InferOutput<typeof operatorRequest>;

/** A machine, as `list` and `show` have it. Times are wall time, milliseconds since 1970, and for the eye. */
export interface MachineView {
  readonly name: string;
  readonly status: 'armed' | 'locked' | 'revoked';
  readonly cause: string | null;
  /** `sha256/BASE64URL` of its client key; null for a Tang client. */
  readonly fingerprint: string | null;
  /** Path of its Tang face, `/t/ID`; null for a machine that has joined. */
  readonly tang: string | null;
  readonly 'lease-left-ms': number | null;
  readonly 'last-seen-ms': number | null;
  readonly 'last-seen-from': string | null;
  /** Those in use. */
  readonly keys: number;
  /** Those that the machine has deleted, and how long each can still be brought back. */
  readonly 'deleted-keys': readonly { readonly kid: string; readonly 'left-ms': number }[];
  readonly pending: readonly {
    readonly id: string;
    readonly from: string;
    readonly 'since-ms': number;
    readonly kid: string;
    readonly approved: boolean;
  }[];
  readonly policy: v.InferOutput<typeof policyChange>;
}

export interface OperatorResponses {
  readonly invite: {
    readonly name: string;
    readonly invitation: string;
    readonly 'expires-in-ms': number;
    /** The server's own key, as `sha256/BASE64URL`. */
    readonly pin: string;
  };
  readonly 'invite-tang': {
    readonly name: string;
    /** Of its Tang face, `/t/ID`. */
    readonly path: string;
    /** S256 thumbprint of the key that signed its advertisement. */
    readonly thp: string;
    /** The secret that keeps it armed: 32 bytes in base64url. */
    readonly alive: string;
  };
  readonly list: { readonly machines: readonly MachineView[] };
  readonly machine: { readonly machine: MachineView };
  /** One JSON line each (src/server/audit/export.ts). */
  readonly audit: { readonly lines: readonly string[]; readonly last: number };
  readonly heads: {
    readonly heads: readonly unknown[];
    /** SubjectPublicKeyInfo of the keys that sign them or did, in base64url. */
    readonly keys: readonly string[];
    /** Number of the newest record. */
    readonly last: number;
  };
  /** Path of the file. */
  readonly backup: { readonly path: string };
  readonly 'rotate-master': { readonly version: number };
  readonly identity: IdentityView;
  readonly doctor: { readonly findings: readonly ServerFinding[] };
}

/** The server's own key, and the one that is to follow it, as `sha256/BASE64URL`. */
export interface IdentityView {
  readonly key: string;
  /** null: none is announced. */
  readonly next: string | null;
  /** How many machines have not heard of `next`, and the names of the first of them. */
  readonly unaware: number;
  readonly names: readonly string[];
}

export interface ServerFinding {
  readonly code: string;
  readonly severity: 'broken' | 'weakens' | 'note';
  readonly what: string;
  readonly fix: string;
}

/** What is not done, and why: an operator is told all. Status 400; 500 for a defect. */
export const operatorFault = v.object({
  code: v.picklist(Object.keys(exitStatusOf) as [ErrorCode, ...ErrorCode[]]),
  message: v.string(),
  hint: v.nullable(v.string()),
});
