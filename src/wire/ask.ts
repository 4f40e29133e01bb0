import * as v from 'valibot';
import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import { type RefusalCode, refusal } from './refusal.ts';

/** What a server said: what was asked for, or why not. */
export type Answer<T> =
  | { readonly refusal: null; readonly value: T }
  | { readonly refusal: RefusalCode; readonly requestId: string };

export interface Question<T> {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly response: v.GenericSchema<unknown, T>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * One request to our own server, its answer checked.
 * @throws AppError `unavailable` (no answer, or one that is not of this protocol), `stopped`
 */
export async function ask<T>(connection: ServerConnection, question: Question<T>): Promise<Answer<T>> {
  const { method, path, body, response, timeoutMs, signal } = question;
  const json = body === undefined ? {} : { json: Buffer.from(JSON.stringify(body)) };
  const bounds = { maxBodyBytes: limits.serverAnswerBytes, timeoutMs, signal };
  const answered = await connection.request({ method, path, ...json, ...bounds });
  return readAnswer(answered.status, parsed(answered.body, path), response, path);
}

/** @throws AppError `unavailable` */
export function readAnswer<T>(
  status: number,
  value: unknown,
  response: v.GenericSchema<unknown, T>,
  path: string,
): Answer<T> {
  if (status === 200) {
    const answer = v.safeParse(response, value);
    if (answer.success) return { refusal: null, value: answer.output };
  } else {
    const refused = v.safeParse(refusal, value);
    if (refused.success) return { refusal: refused.output.code, requestId: refused.output['request-id'] };
  }
  throw new AppError('unavailable', `${path}: the answer (status ${status}) is not one of this protocol`);
}

function parsed(body: Buffer, path: string): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    // Not its message, which quotes the answer.
    throw new AppError('unavailable', `${path}: the answer is not JSON`);
  }
}
