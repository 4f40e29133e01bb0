import { AppError } from '../../base/errors.ts';
import { importLine } from '../../server/audit/export.ts';
import { verifyAudit } from '../../server/audit/verify.ts';
import { parseCommandLine } from '../command.ts';
import { ask, socketHelp, socketOption } from './asking.ts';
import type { OperatorWorld, ServerCommand } from './world.ts';

export const auditCommand: ServerCommand = {
  name: 'audit',
  summary: 'show, verify or export the audit log',
  help: `usage: luks-key-server audit show|verify|export

  show     the records, one line each
  verify   whether any record was edited, left out, moved or cut off
  export   JSON lines, with the hashes of the chain

${socketHelp}

example:
  luks-key-server audit export > audit.jsonl
`,
  async run(args, world) {
    const { values, positionals } = parseCommandLine('audit', args, socketOption, ['show, verify or export']);
    const [what = ''] = positionals;
    if (what === 'verify') return verify(world, values);
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

async function verify(world: OperatorWorld, values: { socket: string; json: boolean }): Promise<number> {
  const links = [];
  for await (const line of lines(world, values.socket)) links.push(importLine(line));
  const { records, head, faults } = await verifyAudit(links, [], []);
  const told = { records, head: head.hash.toString('base64url'), faults };
  world.print(values.json ? `${JSON.stringify(told)}\n` : `${records} records, head ${told.head}\n`);
  for (const { kind, seq } of faults) world.say(`record ${seq}: ${kind}`);
  return faults.length === 0 ? 0 : 6;
}

function shown(line: string): string {
  const { seq, record } = JSON.parse(line) as { seq: number; record: Record<string, unknown> };
  const { when, who, what, outcome, machine, from } = record;
  const where = from === undefined ? '' : ` from ${from}`;
  return `${String(seq).padStart(6)}  ${when}  ${who} ${what} ${machine ?? ''}${where}: ${outcome}`;
}
