import { addressGroup } from '../../base/address-group.ts';
import type { HttpService } from '../../base/http-service.ts';
import { serverLimits } from '../../base/server-limits.ts';
import { serveTang, tangRoute } from '../api/tang.ts';
import { type FrontOptions, networkFront } from './network-front.ts';

/** What Tang clients meet: strangers, all of them. */
export function tangFront(options: FrontOptions): HttpService {
  const { app } = options;
  return networkFront(options, {
    // Whoever has seen a LUKS header knows the machine's address here: from elsewhere he must not use its rate up.
    machineOf(peer, target) {
      const route = peer.kind === 'local' ? null : tangRoute(target);
      return route === null || peer.kind === 'local'
        ? null
        : `/t/${route.id} from ${addressGroup(peer.address)}`;
    },
    read: ({ method, body }) => body(method === 'POST' ? serverLimits.bodyBytes : 0),
    serve: ({ method, target }, body, address, log) => serveTang(app, { method, target, body, address }, log),
  });
}
