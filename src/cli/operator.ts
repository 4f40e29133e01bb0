import { AppError, type ErrorCode, exitStatusOf } from '../base/errors.ts';
import type { MachineView, OperatorRequest, OperatorResponses } from '../wire/operator.ts';

export const DEFAULT_OPERATOR_SOCKET = '/run/luks-key-server/operator.sock';

/** Who reaches the operator's socket of the key server on this host. */
export interface OperatorSide {
  /** @returns status and JSON of the answer @throws AppError `unavailable`, `refused`, `stopped` */
  ask(socket: string, request: OperatorRequest): Promise<{ status: number; json: unknown }>;
}

/**
 * Asks the running server.
 * @throws AppError what the server threw, or `unavailable`, `refused`, `stopped`
 */
export async function ask<K extends keyof OperatorResponses>(
  side: OperatorSide,
  socket: string,
  request: OperatorRequest,
): Promise<OperatorResponses[K]> {
  const { status, json } = await side.ask(socket, request);
  if (status === 200) return json as OperatorResponses[K];
  const { code, message, hint } = (json ?? {}) as { code?: unknown; message?: unknown; hint?: unknown };
  throw new AppError(isCode(code) ? code : 'unavailable', String(message ?? `answered ${status}`), {
    hint: typeof hint === 'string' ? hint : undefined,
  });
}

/** All that it knows, by name. @throws AppError as `ask` */
export async function allMachines(side: OperatorSide, socket: string): Promise<MachineView[]> {
  const machines: MachineView[] = [];
  for (let after = ''; ; after = machines.at(-1)?.name ?? '') {
    const page = await ask<'list'>(side, socket, { command: 'list', after });
    machines.push(...page.machines);
    if (page.machines.length === 0) return machines;
  }
}

function isCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(exitStatusOf, code);
}
