import { execFile } from 'node:child_process';
import { Secret } from '../../src/base/secret.ts';
import { parseCompact } from '../../src/jwe/compact.ts';
import type { OpenContext, SealContext, SealedKey } from '../../src/pins/pin.ts';
import { tang } from '../../src/pins/tang.ts';
import { openContext, sealContext } from './contexts.ts';

/** Both ways of sealing with a Tang server, and of opening: ours and Clevis'. */

export function parse(jwe: string): SealedKey {
  const sealed = tang.parse(parseCompact(jwe), () => {
    throw new Error('tang nests nothing');
  });
  if (sealed === null) throw new Error('not sealed by tang');
  return sealed;
}

export async function open(jwe: string, overrides: Partial<OpenContext> = {}): Promise<Buffer> {
  return (await parse(jwe).open(openContext(overrides), new AbortController().signal)).reveal();
}

export function seal(
  config: unknown,
  plaintext: Buffer | string,
  overrides: Partial<SealContext> = {},
): Promise<string> {
  return tang.seal(config, new Secret(Buffer.from(plaintext)), sealContext(overrides));
}

/** @param script Clevis' own, or a variant of it */
export async function clevisSeal(
  config: unknown,
  plaintext: Buffer | string,
  script = '/usr/bin/clevis-encrypt-tang',
): Promise<string> {
  return (await run('bash', [script, JSON.stringify(config), '-y'], plaintext)).toString();
}

export function clevisOpen(jwe: string): Promise<Buffer> {
  return run('clevis', ['decrypt'], jwe);
}

/** What the server advertises, as text. */
export async function advertisement(url: string): Promise<string> {
  return await (await fetch(`${url}/adv`)).text();
}

/** The same sealed key under another protected header, which no longer authenticates. */
export function withHeader(jwe: string, header: unknown): string {
  const [, ...rest] = jwe.split('.');
  return [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.');
}

/** Not the synchronous kind: some of the servers that it talks to live in this process. */
function run(tool: string, args: readonly string[], input: Buffer | string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = execFile(tool, args, { encoding: 'buffer' }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
    child.stdin?.end(input);
  });
}
