import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { AppError } from '../../src/base/errors.ts';
import type { Http } from '../../src/base/ports.ts';
import { files } from '../../src/os/files.ts';
import { http } from '../../src/os/http.ts';
import { locksIn } from '../../src/os/locks.ts';
import { memoryFiles } from '../../src/os/memory-files.ts';
import { runner } from '../../src/os/processes.ts';
import { parseSealedKey } from '../../src/pins/table.ts';
import { tpmByTools } from '../../src/tpm/tpm.ts';
import { openContext } from '../support/contexts.ts';
import { startSwtpm } from '../support/swtpm.ts';
import { startTang } from '../support/tang.ts';

interface Vector {
  readonly 'made-by': string;
  /** `opens`, or an error's code. */
  readonly expect: string;
  readonly secret?: string;
  readonly jwe: string;
}

const folder = new URL('../vectors/', import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith('.json'));

/** Where the vectors say that the Tang server is; it listens elsewhere. */
const NAMED = 'http://127.0.0.1:7171';

t.test('sealed keys that Clevis made open, and changed ones fail as they should', async (t) => {
  t.ok(names.length >= 40, `${names.length} vectors`);
  const tang = await startTang(t, 'P-521', new URL('tang-database', folder).pathname);
  const swtpm = await startSwtpm(new URL('tpm-state', folder).pathname);
  t.teardown(() => swtpm.remove());
  const tpm = tpmByTools({ runner, memoryFiles, files, locks: locksIn(t.testdir()) }, { tcti: swtpm.tcti });
  const redirected: Http = {
    request: (request) =>
      http.request({ ...request, url: new URL(request.url.href.replace(NAMED, tang.url)) }),
  };
  for (const name of names) {
    const vector = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Vector;
    const leftovers: Promise<unknown>[] = [];
    const context = openContext({
      tpm,
      http: redirected,
      afterwards: (leftover) => leftovers.push(leftover),
    });
    const [outcome, secret] = await open(vector.jwe, context);
    await Promise.all(leftovers);
    t.equal(outcome, vector.expect, name);
    if (vector.secret !== undefined) t.equal(secret, vector.secret, `${name}: the secret`);
  }
});

async function open(jwe: string, context: ReturnType<typeof openContext>): Promise<[string, string?]> {
  try {
    const secret = await parseSealedKey(jwe).open(context, new AbortController().signal);
    return ['opens', secret.reveal().toString()];
  } catch (error) {
    if (error instanceof AppError) return [error.code];
    throw error;
  }
}
