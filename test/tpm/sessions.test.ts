import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { parseSealedKey } from '../../src/pins/table.ts';
import type { SealedObject } from '../../src/tpm/tpm.ts';
import { openContext } from '../support/contexts.ts';
import { sealerWith } from '../support/sealing.ts';
import { startTang } from '../support/tang.ts';
import { noAbort, ownFolder, ownSwtpm, secretOf, toolsWith, tpmAt } from '../support/tpm.ts';

t.setTimeout(300_000);

const plan = {
  parent: 'storage-key',
  pcrs: { selection: { bank: 'sha256', ids: [7] }, values: null },
} as const;

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5);
}

t.test('200 unseals that are aborted anywhere leave no session', async (t) => {
  const swtpm = await ownSwtpm(t);
  const locks = ownFolder(t);
  const tpm = tpmAt(swtpm.tcti, locks);
  const object = await tpm.seal(secretOf('content'), plan, noAbort);
  const outcomes = { stopped: 0, opened: 0 };
  for (let i = 0; i < 200; i++) {
    const stop = new AbortController();
    // An unseal takes some 60 ms here: the steps go over the whole of it and beyond, again and again.
    const timer = setTimeout(() => stop.abort(), (i * 7) % 70);
    try {
      const { settled } = await tpm.unseal(object, stop.signal);
      outcomes.opened++;
      await settled;
    } catch (error) {
      t.match(error, { code: 'stopped' });
      outcomes.stopped++;
    }
    clearTimeout(timer);
  }
  t.equal(swtpm.leftovers(), '');
  t.ok(outcomes.stopped > 100, JSON.stringify(outcomes));
  t.equal(readFileSync(join(locks, readdirSync(locks)[0] ?? ''), 'utf8'), '', 'and no note');
});

t.test('so do 200 that another pin was faster than', async (t) => {
  const swtpm = await ownSwtpm(t);
  const locks = ownFolder(t);
  const tpm = tpmAt(swtpm.tcti, locks);
  const tang = await startTang(t);
  const own = { tpm2: {}, tang: { url: tang.url, thp: tang.thp } };
  const sealed = parseSealedKey(await sealerWith(swtpm.tcti, locks)('sss', { t: 1, pins: own }, 'content'));
  const leftovers: Promise<unknown>[] = [];
  const afterwards = (leftover: Promise<unknown>) => void leftovers.push(leftover);
  const tangFirst = openContext({ tpm, afterwards });
  for (let i = 0; i < 200; i++) {
    using secret = await sealed.open(tangFirst, noAbort);
    if (secret.reveal().toString() !== 'content') t.fail(`time ${i}`);
    await Promise.all(leftovers.splice(0));
  }
  t.equal(swtpm.leftovers(), '');
  t.equal(readFileSync(join(locks, readdirSync(locks)[0] ?? ''), 'utf8'), '', 'and no note');
});

t.test('an abort lets the tool under way finish, starts no other, and flushes', async (t) => {
  const swtpm = await ownSwtpm(t);
  const locks = ownFolder(t);
  const object = await tpmAt(swtpm.tcti, locks).seal(secretOf('content'), plan, noAbort);
  const signs = ownFolder(t);
  const script = `: >${signs}/begun; while ! test -e ${signs}/go; do sleep 0.01; done; exec /usr/bin/tpm2_load "$@"`;
  const tpm = tpmAt(swtpm.tcti, locks, toolsWith(t, 'tpm2_load', script));
  const stop = new AbortController();
  const unsealing = tpm.unseal(object, stop.signal);
  await until(() => existsSync(`${signs}/begun`));
  t.match(swtpm.run('tpm2_getcap', ['handles-saved-session']).toString(), /0x2/, 'a session is under way');
  stop.abort();
  const mark = swtpm.mark();
  writeFileSync(`${signs}/go`, '');
  await t.rejects(unsealing, { code: 'stopped' });
  const commands = [
    ...swtpm
      .traffic(mark)
      .toString('hex')
      .matchAll(/800[12]0000[0-9a-f]{4}0000(01[0-9a-f]{2})/g),
  ];
  const codes = commands.map((match) => match[1]);
  t.ok(codes.includes('0157'), 'TPM2_Load was finished');
  t.notOk(codes.includes('015e'), 'TPM2_Unseal was not begun');
  t.equal(swtpm.leftovers(), '');
});

t.test('a tool that is killed while it has sessions in the TPM leaves none', async (t) => {
  const swtpm = await ownSwtpm(t);
  const locks = ownFolder(t);
  const object = await tpmAt(swtpm.tcti, locks).seal(secretOf('content'), plan, noAbort);
  // TPM2_StartAuthSession of a policy session, as tpm2_unseal sends it, which then stays loaded.
  const command = join(ownFolder(t), 'command');
  const nonce = '00'.repeat(16);
  writeFileSync(
    command,
    Buffer.from(`80010000002b0000017640000007400000070010${nonce}0000010010000b`, 'hex'),
  );
  const leavesLoaded = `tpm2_send <${command} >/dev/null; kill -KILL $$`;
  const scripts = {
    tpm2_startauthsession: 'tpm2_startauthsession --hmac-session -S /dev/null; kill -KILL $$',
    tpm2_load: leavesLoaded,
    tpm2_unseal: leavesLoaded,
  };
  for (const [tool, script] of Object.entries(scripts)) {
    const tpm = tpmAt(swtpm.tcti, locks, toolsWith(t, tool, script));
    const mark = swtpm.mark();
    await t.rejects(tpm.unseal(object, noAbort), { code: 'unavailable', message: /killed by SIGKILL/ });
    t.ok(swtpm.traffic(mark).includes(Buffer.from('00000176', 'hex')), 'it had started a session');
    t.equal(swtpm.leftovers(), '', tool);
  }
});

/** Another process that unseals, and is killed as soon as `tool` runs. */
async function killedIn(
  t: Test,
  tool: string,
  tcti: string,
  locks: string,
  object: SealedObject,
): Promise<void> {
  const signs = ownFolder(t);
  const script = `/usr/bin/${tool} "$@"; echo $$ >${signs}/pid; exec sleep 1000`;
  const tools = toolsWith(t, tool, script);
  const module = new URL('../support/tpm.ts', import.meta.url).pathname;
  const program = `
    const { tpmAt, noAbort } = await import(${JSON.stringify(module)});
    const object = JSON.parse(${JSON.stringify(JSON.stringify(object))}, (_, value) =>
      value?.type === 'Buffer' ? Buffer.from(value.data) : value);
    await tpmAt(...${JSON.stringify([tcti, locks, tools])}).unseal(object, noAbort);`;
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', program], {
    stdio: 'inherit',
  });
  const gone = new Promise((done) => child.once('exit', done));
  await until(() => existsSync(`${signs}/pid`) && readFileSync(`${signs}/pid`).length > 0);
  child.kill('SIGKILL');
  await gone;
  process.kill(Number(readFileSync(`${signs}/pid`, 'utf8')), 'SIGKILL');
}

t.test('what a process that was killed left, the next one cleans up', async (t) => {
  const swtpm = await ownSwtpm(t);
  const locks = ownFolder(t);
  const tpm = tpmAt(swtpm.tcti, locks);
  const object = await tpm.seal(secretOf('content'), plan, noAbort);
  for (const tool of ['tpm2_startauthsession', 'tpm2_load', 'tpm2_unseal']) {
    await killedIn(t, tool, swtpm.tcti, locks, object);
    t.match(swtpm.leftovers(), /0x2/, `killed in ${tool}: a session is left`);
    const { secret, settled } = await tpm.unseal(object, noAbort);
    t.equal(secret.reveal().toString(), 'content');
    await settled;
    t.equal(swtpm.leftovers(), '');
  }
});

t.test('a note that a hostile hand wrote names no more than a session', async (t) => {
  const swtpm = await ownSwtpm(t);
  const locks = ownFolder(t);
  const tpm = tpmAt(swtpm.tcti, locks);
  const object = await tpm.seal(secretOf('content'), plan, noAbort);
  const lock = join(locks, readdirSync(locks)[0] ?? '');
  for (const note of [
    'session 0x81000001',
    'session 0x02000000; rm -rf /',
    'x'.repeat(10_000),
    'session 0x02abcdef',
  ]) {
    writeFileSync(lock, note);
    const { settled } = await tpm.unseal(object, noAbort);
    await settled;
    t.equal(readFileSync(lock, 'utf8'), '');
    t.match(swtpm.run('tpm2_getcap', ['handles-persistent']).toString(), /0x81000001/, note.slice(0, 30));
  }
});
