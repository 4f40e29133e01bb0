import * as v from 'valibot';

/**
 * Why a machine gets nothing: a closed set, and all that it is told. `unavailable` and `bad-request` are not the
 * server's decision about the machine.
 */
export const refusalCodes = [
  'locked',
  'revoked',
  'approval-pending',
  'not-allowed-from',
  'count-used',
  'unknown',
  'bad-request',
  'too-many',
  'unavailable',
] as const;

export type RefusalCode = (typeof refusalCodes)[number];

/** Body of every answer that is not 200. */
export const refusal = v.object({
  code: v.picklist(refusalCodes),
  /** Neutral: the reason is in the server's log, under the request's id. */
  message: v.string(),
  'request-id': v.string(),
});

export const refusalStatus: Readonly<Record<RefusalCode, number>> = {
  locked: 403,
  revoked: 403,
  'approval-pending': 403,
  'not-allowed-from': 403,
  'count-used': 403,
  unknown: 404,
  'bad-request': 400,
  'too-many': 429,
  unavailable: 503,
};
