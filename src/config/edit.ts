import { parseDocument } from 'yaml';
import type { SiteSettings } from './site.ts';

/**
 * config.yaml with a key server in it, or without one; comments and everything else stay.
 * @param text as it is, valid; '' when there is none
 * @param settings null takes it out
 */
export function withServer(
  text: string,
  name: string,
  settings: { readonly url: string; readonly pin: string; readonly identity: string } | null,
): string {
  const document = parseDocument(text);
  if (settings !== null) document.setIn(['servers', name], document.createNode(settings));
  else document.deleteIn(['servers', name]);
  const servers = document.getIn(['servers'], true) as { items?: unknown[] } | undefined;
  if (servers?.items?.length === 0) document.deleteIn(['servers']);
  return document.contents === null && text === '' ? '' : document.toString({ lineWidth: 0 });
}

/** config.yaml with this site in it; comments and everything else stay. @param text as `withServer` takes it */
export function withSite(text: string, { host, url, need, hosts, allowLocalUnseal }: SiteSettings): string {
  const document = parseDocument(text);
  const fields = { host, url: url.origin, need, ...(hosts.length > 0 ? { hosts } : {}) };
  const exception = allowLocalUnseal ? { 'allow-local-unseal': true } : {};
  if (!document.hasIn(['site'])) document.setIn(['site'], document.createNode({}));
  for (const [field, value] of Object.entries({ ...fields, ...exception })) {
    document.setIn(['site', field], document.createNode(value));
  }
  return document.toString({ lineWidth: 0 });
}
