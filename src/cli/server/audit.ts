import { AppError } from '../../base/errors.ts';
import { publicKeyFrom } from '../../base/key-pin.ts';
import { limits } from '../../base/limits.ts';
import type { Files } from '../../base/ports.ts';
import { importLine } from '../../server/audit/export.ts';
import { headFromJson, type SignedHead } from '../../server/audit/heads.ts';
import { verifyAudit } from '../../server/audit/verify.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import { parseCommandLine } from './command-line.ts';
import type { OperatorWorld, ServerCommand } from './world.ts';

export const auditCommand: ServerCommand = {
  name: 'audit',
  summary: 'show, verify or export the audit log',
  help: `usage: luks-key-server audit show|verify|export [--witness FILE]…

  show     the records, one line each
  verify   whether any record was edited, left out, moved or cut off
  export   JSON lines, with the hashes of the chain

  --witness FILE  for verify: heads that somebody else has kept, one JSON object a
                  line, as a machine does in /etc/fetch-luks-key/audit-heads
${socketHelp}

example:
  luks-key-server audit export > audit.jsonl
`,
  async run(args, world) {
    const options = { ...socketOption, witness: { type: 'string', multiple: true } } as const;
    const { values, positionals } = parseCommandLine('audit', args, options, ['show, verify or export']);
    const [what = ''] = positionals;
    if (what === 'verify') return verify(world, values.witness ?? [], values);
    if (what !== 'show' && what !== 'export') {
      throw new AppError('usage', `audit: expected show, verify or export, got ${JSON.stringify(what)}`);
    }
    for await (const line of lines(world, values.socket)) {
      world.print(`${what === 'export' || values.json ? line : shown(line)}\n`);
    }
    return 0;
  },
};

async function* lines(world: OperatorWorld, socket: string): AsyncGenerator<string> {
  for (let after = 0; ; ) {
    const page = await ask<'audit'>(world, socket, { command: 'audit', after });
    yield* page.lines;
    if (page.lines.length === 0) return;
    after = page.last;
  }
}

/** @param witnesses paths of files of heads */
async function verify(
  world: OperatorWorld,
  witnesses: readonly string[],
  values: { socket: string; json: boolean },
): Promise<number> {
  const { heads, keys } = await signedHeads(world, values.socket);
  for (const path of witnesses) heads.push(...(await headsIn(path, world.files)));
  const links = [];
  for await (const line of lines(world, values.socket)) links.push(importLine(line));
  const { records, head, faults } = await verifyAudit(links, heads, keys);
  const told = { records, head: head.hash.toString('base64url'), heads: heads.length, faults };
  world.print(
    values.json
      ? `${JSON.stringify(told)}\n`
      : `${records} records, head ${told.head}, ${heads.length} signed heads\n`,
  );
  for (const { kind, seq } of faults) world.say(`record ${seq}: ${kind}`);
  return faults.length === 0 ? 0 : 6;
}

/** The server's own word for where its log ended, and the keys that gave it. */
async function signedHeads(
  world: OperatorWorld,
  socket: string,
): Promise<{ heads: SignedHead[]; keys: ReturnType<typeof publicKeyFrom>[] }> {
  const heads: SignedHead[] = [];
  for (let after = 0; ; after = heads.at(-1)?.seq ?? 0) {
    const page = await ask<'heads'>(world, socket, { command: 'heads', after });
    heads.push(...page.heads.map((head) => parsedHead(head, socket)));
    if (page.heads.length > 0) continue;
    return { heads, keys: page.keys.map(publicKeyFrom) };
  }
}

async function headsIn(path: string, files: Files): Promise<SignedHead[]> {
  const bytes = await files.read(path, limits.configBytes);
  if (bytes === null) throw new AppError('usage', `--witness: ${path}: no such file`);
  const lines = bytes.toString().split('\n');
  return lines.flatMap((line, index) =>
    line.trim() === '' ? [] : [parsedHead(jsonIn(line), `${path}:${index + 1}`)],
  );
}

function jsonIn(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function parsedHead(value: unknown, where: string): SignedHead {
  const head = headFromJson(value);
  if (head !== null) return head;
  throw new AppError('damaged', `${where}: expected a signed head of the audit log`);
}

/** A record for the eye. */
export function shown(line: string): string {
  const { seq, record } = JSON.parse(line) as { seq: number; record: Record<string, unknown> };
  const { when, who, what, outcome, machine, from } = record;
  const where = from === undefined ? '' : ` from ${from}`;
  return `${String(seq).padStart(6)}  ${when}  ${who} ${what} ${machine ?? ''}${where}: ${outcome}`;
}
