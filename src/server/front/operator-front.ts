import { safeParse } from 'valibot';
import { AppError, asAppError, failureLine } from '../../base/errors.ts';
import type { HttpCall, HttpReply, HttpService } from '../../base/http-service.ts';
import type { Logger } from '../../base/ports.ts';
import { operatorRequest } from '../../wire/operator.ts';
import type { App } from '../api/app.ts';
import { operate } from '../api/operator.ts';
import { parsedBody } from './body.ts';
import { jsonReply } from './reply.ts';

/** What the operator's socket meets: who could open it may do all, and is told all. */
export function operatorFront(app: App, log: Logger): HttpService {
  return {
    admits: () => true,
    crowded: (line) => log.warning(line),
    async answer(call) {
      try {
        return jsonReply(200, await operated(app, call), false);
      } catch (thrown) {
        return faultReply(asAppError(thrown), log);
      }
    },
    refuse: (reason) => faultReply(new AppError('bad-request', reason), log),
  };
}

/** @throws AppError */
async function operated(app: App, call: HttpCall): Promise<unknown> {
  if (call.peer.kind !== 'local' || call.method !== 'POST' || call.target !== '/v1/operator') {
    throw new AppError('bad-request', `expected POST /v1/operator, got ${call.method} ${call.target}`);
  }
  const result = safeParse(operatorRequest, await parsedBody(call));
  if (result.success) return operate(app, result.output);
  const [issue] = result.issues;
  const where = issue.path?.map((item) => String(item.key)).join('.') ?? 'body';
  throw new AppError('bad-request', `${where}: ${issue.message}`);
}

function faultReply(fault: AppError, log: Logger): HttpReply {
  const { code, message, hint = null } = fault;
  if (code === 'bug' || code === 'unavailable') log.error(`operator: ${failureLine(fault)}`);
  return jsonReply(code === 'bug' ? 500 : 400, { code, message, hint }, false);
}
