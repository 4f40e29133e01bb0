import { existsSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import { AppError } from '../../src/base/errors.ts';
import { limits } from '../../src/base/limits.ts';
import type { Argument, Runner } from '../../src/base/ports.ts';
import { files } from '../../src/os/files.ts';
import { locksIn } from '../../src/os/locks.ts';
import { memoryFiles } from '../../src/os/memory-files.ts';
import { runner } from '../../src/os/processes.ts';
import { type SealedObject, tpmByTools } from '../../src/tpm/tpm.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { noAbort, ownFolder, ownSwtpm, secretOf, toolsWith, tpmAt } from '../support/tpm.ts';

const plan = {
  parent: 'storage-key',
  pcrs: { selection: { bank: 'sha256', ids: [7] }, values: null },
} as const;
const SECRET = 'what must not be told';

async function sealed(t: Test): Promise<{ swtpm: Swtpm; object: SealedObject }> {
  const swtpm = await ownSwtpm(t);
  return { swtpm, object: await tpmAt(swtpm.tcti, ownFolder(t)).seal(secretOf(SECRET), plan, noAbort) };
}

t.test('tpm2-tools that are not installed are missing, and the package is named', async (t) => {
  const { swtpm, object } = await sealed(t);
  const tpm = tpmAt(swtpm.tcti, ownFolder(t), ownFolder(t));
  await t.rejects(tpm.unseal(object, noAbort), {
    code: 'tool-missing',
    message: /tpm2_startauthsession: cannot be started \(ENOENT\)/,
    hint: /tpm2-tools/,
  });
});

t.test('a tool that misbehaves is unavailable, says nothing of the secret and leaves nothing', async (t) => {
  const { swtpm, object } = await sealed(t);
  const unseal = '/usr/bin/tpm2_unseal "$@"';
  const cases: [script: string, message: RegExp][] = [
    [`${unseal}; kill -SEGV $$`, /tpm2_unseal: killed by SIGSEGV/],
    [`while :; do ${unseal} || yes; done`, /tpm2_unseal: expected at most \d+ bytes of output, got more/],
    [`${unseal}; echo "ERROR: odd" >&2; exit 7`, /tpm2_unseal failed: ERROR: odd/],
  ];
  for (const [script, message] of cases) {
    const tpm = tpmAt(swtpm.tcti, ownFolder(t), toolsWith(t, 'tpm2_unseal', script));
    const error = await tpm.unseal(object, noAbort).catch((thrown) => thrown);
    t.match(error, { code: 'unavailable', message });
    t.notMatch(inspect(error, { depth: 9, showHidden: true }), SECRET);
    t.equal(swtpm.leftovers(), '');
  }
});

t.test('a tool that hangs is ended at its time limit', async (t) => {
  const { swtpm, object } = await sealed(t);
  const seen: number[] = [];
  const impatient: Runner = {
    run(tool, args, options) {
      seen.push(options.timeoutMs);
      return runner.run(tool, args, { ...options, timeoutMs: Math.min(options.timeoutMs, 1000) });
    },
  };
  const toolFolder = toolsWith(t, 'tpm2_load', 'exec sleep 1000');
  const ports = { runner: impatient, memoryFiles, files, locks: locksIn(ownFolder(t)) };
  const tpm = tpmByTools(ports, { tcti: swtpm.tcti, toolFolder });
  await t.rejects(tpm.unseal(object, noAbort), {
    code: 'unavailable',
    message: /tpm2_load: no result within 1 s/,
  });
  t.equal(swtpm.leftovers(), '');
  t.equal(Math.max(...seen), limits.tpmToolTimeoutMs, 'the limit is the one that was set');
});

t.test('a tool that hangs is ended some time after an abort', async (t) => {
  const { swtpm, object } = await sealed(t);
  const sign = `${ownFolder(t)}/begun`;
  const tpm = tpmAt(swtpm.tcti, ownFolder(t), toolsWith(t, 'tpm2_load', `: >${sign}; exec sleep 1000`));
  const stop = new AbortController();
  const unsealing = tpm.unseal(object, stop.signal);
  while (!existsSync(sign)) await pause(5);
  stop.abort();
  await t.rejects(unsealing, { code: 'stopped' });
  t.equal(swtpm.leftovers(), '');
});

t.test('an abort before the beginning starts nothing', async (t) => {
  const { swtpm, object } = await sealed(t);
  const mark = swtpm.mark();
  const tpm = tpmAt(swtpm.tcti, ownFolder(t));
  await t.rejects(tpm.unseal(object, AbortSignal.abort()), { code: 'stopped' });
  t.equal(swtpm.commandCount(mark), 0);
});

t.test('no argument and no environment of a tool holds the secret', async (t) => {
  const { swtpm } = await sealed(t);
  const seen: string[] = [];
  const watching: Runner = {
    run(tool, args, options) {
      seen.push(inspect([tool, args, options.environment], { depth: 9 }));
      return runner.run(tool, args, options);
    },
  };
  const ports = { runner: watching, memoryFiles, files, locks: locksIn(ownFolder(t)) };
  const tpm = tpmByTools(ports, { tcti: swtpm.tcti });
  const object = await tpm.seal(secretOf(SECRET), plan, noAbort);
  const { secret, settled } = await tpm.unseal(object, noAbort);
  await settled;
  t.equal(secret.reveal().toString(), SECRET);
  t.ok(seen.length > 8);
  t.notMatch(seen.join('\n'), SECRET);
});

interface Recorder {
  readonly calls: string[];
  readonly runner: Runner;
}

/**
 * tpm2-tools before a TPM with a resource manager, which only a kernel with a TPM has: every tool succeeds.
 * @param watch is told of each call
 */
function recorder(sessionFile: Buffer, watch: (tool: string) => void = () => {}): Recorder {
  const calls: string[] = [];
  const text = (argument: Argument) => (typeof argument === 'string' ? argument : '(file)');
  return {
    calls,
    runner: {
      async run(path, args) {
        const tool = path.replace('/usr/bin/', '');
        calls.push([tool, ...args.map(text)].join(' '));
        watch(tool);
        if (tool === 'tpm2_startauthsession') {
          const file = args.findLast((argument) => typeof argument !== 'string');
          if (file !== undefined && 'fd' in file) writeSync(file.fd, sessionFile, 0, sessionFile.length, 0);
        }
        return { status: 0, stdout: Buffer.from(SECRET), stderr: '' };
      },
    },
  };
}

async function sessionFile(t: Test, swtpm: Swtpm): Promise<Buffer> {
  const folder = ownFolder(t);
  swtpm.run('tpm2_startauthsession', ['--hmac-session', '-S', `${folder}/session`]);
  return readFileSync(`${folder}/session`);
}

t.test('with a resource manager nothing but our own session is flushed, in order or not', async (t) => {
  const { swtpm, object } = await sealed(t);
  const { calls, runner } = recorder(await sessionFile(t, swtpm), (tool) => {
    if (tool === 'tpm2_unseal' && calls.length > 5) throw new AppError('unavailable', 'killed');
  });
  for (const tcti of ['device:/dev/tpmrm0', 'device:/dev/tpmrm12', 'tabrmd', 'tabrmd:bus_type=system']) {
    calls.length = 0;
    const tpm = tpmByTools({ runner, memoryFiles, files, locks: locksIn(ownFolder(t)) }, { tcti });
    const { settled } = await tpm.unseal(object, noAbort);
    await settled;
    await t.rejects(tpm.unseal(object, noAbort), { code: 'unavailable' });
    const flushes = calls.filter((call) => call.startsWith('tpm2_flushcontext'));
    t.same(flushes, ['tpm2_flushcontext 0x02000000', 'tpm2_flushcontext 0x02000000'], tcti);
  }
  for (const tcti of ['device:/dev/tpm0', 'swtpm:host=127.0.0.1', 'device:/dev/tpmrm0x']) {
    calls.length = 0;
    const tpm = tpmByTools({ runner, memoryFiles, files, locks: locksIn(ownFolder(t)) }, { tcti });
    await (await tpm.unseal(object, noAbort)).settled;
    t.match(calls, ['tpm2_startauthsession', 'tpm2_load', 'tpm2_unseal', /0x02000000$/, /-t$/], tcti);
  }
});

t.test(
  'with a resource manager, the session that a killed process noted is flushed before anything else',
  async (t) => {
    const { swtpm, object } = await sealed(t);
    const folder = ownFolder(t);
    const lockFile = () => `${folder}/${readdirSync(folder)[0]}`;
    const notes: string[] = [];
    const { calls, runner } = recorder(await sessionFile(t, swtpm), () => {
      notes.push(readFileSync(lockFile(), 'utf8'));
    });
    const tpm = tpmByTools(
      { runner, memoryFiles, files, locks: locksIn(folder) },
      { tcti: 'device:/dev/tpmrm0' },
    );
    await (await tpm.unseal(object, noAbort)).settled;
    t.same(notes, ['under way', ...Array(3).fill('session 0x02000000')]);
    t.equal(readFileSync(lockFile(), 'utf8'), '');

    for (const [note, flushes] of [
      ['session 0x02000005', ['tpm2_flushcontext 0x02000005']],
      ['session 0x03000001', ['tpm2_flushcontext 0x03000001']],
      // Whose it is cannot be told, and others use this TPM too.
      ['under way', []],
      ['session 0x80000000', []],
      ['session 0x02000005 ', []],
    ] as const) {
      writeFileSync(lockFile(), note);
      calls.length = 0;
      await (await tpm.unseal(object, noAbort)).settled;
      t.match(calls[flushes.length], /^tpm2_startauthsession/);
      t.same(calls.slice(0, flushes.length), flushes, note);
    }
  },
);
