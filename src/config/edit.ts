import { parseDocument } from 'yaml';

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
