import { AppError, asAppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { LocalService } from '../base/ports.ts';
import { decodeResponse, encodeRequest, type Response, responseBytes } from './frame.ts';
import { failure, status } from './status.ts';

export interface Operation {
  /** For people: what is asked for. */
  readonly what: string;
  /** 0 = the service itself. */
  readonly provider: number;
  readonly opcode: number;
  /** Wiped. */
  readonly body: Buffer;
  readonly timeoutMs?: number;
  /** A status that is as good as success; nothing is read then. */
  readonly orStatus?: number;
}

/**
 * @param read gives null when the body is not what the operation's definition says; the body is wiped then
 * @throws AppError `unavailable`, `refused`, `foreign-tpm`, `stopped`
 */
export type Call = <T>(
  operation: Operation,
  read: (body: Buffer) => T | null,
  signal: AbortSignal,
) => Promise<T>;

/** @param uid who asks, for the service to compare with SO_PEERCRED */
export function caller(service: LocalService, uid: number): Call {
  return async (operation, read, signal) => {
    try {
      const { status: code, body } = await exchange(service, uid, operation, signal);
      try {
        if (code !== status.success && code !== operation.orStatus) throw failure(code);
        const result = read(body);
        if (result !== null) return result;
        throw new AppError('unavailable', 'the answer is not what its definition says');
      } finally {
        body.fill(0);
      }
    } catch (thrown) {
      throw asAppError(thrown).at(`parsec: ${operation.what}`);
    }
  };
}

async function exchange(
  service: LocalService,
  uid: number,
  operation: Operation,
  signal: AbortSignal,
): Promise<Response> {
  const { body, timeoutMs = limits.parsecTimeoutMs } = operation;
  const request = encodeRequest({ ...operation, uid });
  body.fill(0);
  try {
    return decodeResponse(await service.ask(request, responseBytes, timeoutMs, signal), operation);
  } finally {
    request.fill(0);
  }
}
