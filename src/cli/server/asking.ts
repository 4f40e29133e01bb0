import { AppError, type ErrorCode, exitStatusOf } from '../../base/errors.ts';
import type { OperatorRequest, OperatorResponses } from '../../wire/operator.ts';
import type { OperatorWorld } from './world.ts';

export const socketOption = {
  socket: { type: 'string', default: '/run/luks-key-server/operator.sock' },
  json: { type: 'boolean', default: false },
} as const;

export const socketHelp = `  --socket PATH  default /run/luks-key-server/operator.sock
  --json         print JSON`;

/**
 * Asks the running server.
 * @throws AppError what the server threw, or `unavailable`, `refused`, `stopped`
 */
export async function ask<K extends keyof OperatorResponses>(
  world: OperatorWorld,
  socket: string,
  request: OperatorRequest,
): Promise<OperatorResponses[K]> {
  const { status, json } = await world.ask(socket, request);
  if (status === 200) return json as OperatorResponses[K];
  const { code, message, hint } = (json ?? {}) as { code?: unknown; message?: unknown; hint?: unknown };
  throw new AppError(isCode(code) ? code : 'unavailable', String(message ?? `answered ${status}`), {
    hint: typeof hint === 'string' ? hint : undefined,
  });
}

function isCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(exitStatusOf, code);
}
