import { limits } from '../base/limits.ts';
import type { TangSettings } from '../config/key-server.ts';
import { clock } from '../os/clock.ts';
import { serveHttps } from '../os/https-server.ts';
import { journal } from '../os/journal.ts';
import type { Listener } from '../os/listener.ts';
import type { App } from '../server/api/app.ts';
import { tangFront } from '../server/front/tang-front.ts';
import { givenFile, givenSecret } from './given-files.ts';

/** @throws AppError `bad-config`: no such file, a key that everybody may read */
export async function serveTangFace({ listen, ...paths }: TangSettings, app: App): Promise<Listener> {
  const certificate = await givenFile(paths.certificate, limits.identityBytes);
  const key = await givenSecret(paths.key, limits.identityBytes);
  const https = { certificate, key, asksForKey: false, place: listen };
  const listener = await serveHttps(https, tangFront({ app, log: journal, clock }));
  journal.info(`serving Tang clients on port ${listener.port}`);
  return listener;
}
