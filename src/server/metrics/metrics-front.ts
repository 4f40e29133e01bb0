import type { HttpReply, HttpService } from '../../base/http-service.ts';
import type { Logger } from '../../base/ports.ts';
import { EXPOSITION_TYPE, exposition, type Family } from './exposition.ts';

/** What Prometheus meets: one page, for whoever reaches it. @param gather never rejects */
export function metricsFront(gather: () => Promise<readonly Family[]>, log: Logger): HttpService {
  return {
    admits: () => true,
    crowded: (line) => log.warning(`metrics: ${line}`),
    async answer({ method, target }) {
      if (!/^\/metrics(\?|$)/.test(target)) return page(404, 'no such page: /metrics is all there is\n');
      if (method !== 'GET') return page(405, 'only GET\n', { allow: 'GET' });
      return page(200, exposition(await gather()), { 'content-type': EXPOSITION_TYPE });
    },
    refuse: (reason) => ({ ...page(400, `${reason}\n`), close: true }),
  };
}

function page(status: number, text: string, headers: Readonly<Record<string, string>> = {}): HttpReply {
  const all = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', ...headers };
  return { status, headers: all, body: Buffer.from(text), close: false };
}
