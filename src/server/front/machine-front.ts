import type { HttpService, Peer } from '../../base/http-service.ts';
import { keyPinText } from '../../base/key-pin.ts';
import { serve } from '../api/serve.ts';
import { parsedBody } from './body.ts';
import { type FrontOptions, networkFront } from './network-front.ts';

/** What machines meet, each of which is known by its key. */
export function machineFront(options: FrontOptions): HttpService {
  const { app } = options;
  return networkFront(options, {
    machineOf(peer) {
      const pin = clientPinOf(peer);
      return pin === null ? null : keyPinText(pin);
    },
    read: parsedBody,
    serve({ method, target, peer, signal }, body, address, log) {
      return serve(app, { method, path: target, body, address, clientPin: clientPinOf(peer), signal }, log);
    },
  });
}

/** A local peer has nothing to ask here: it is nobody. */
function clientPinOf(peer: Peer): Buffer | null {
  return peer.kind === 'local' ? null : peer.pinSha256;
}
