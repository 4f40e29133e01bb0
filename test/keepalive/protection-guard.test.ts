import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { Secret } from '../../src/base/secret.ts';
import { identityToPem, makeIdentity } from '../../src/identity/identity.ts';
import { ProtectionGuard } from '../../src/keepalive/protection-guard.ts';
import { files } from '../../src/os/files.ts';
import { random } from '../../src/os/random.ts';
import { protect } from '../../src/protection/protect.ts';
import type { ProtectMode } from '../../src/protection/settings.ts';
import { readIdentityFile } from '../../src/remote/identity-file.ts';
import { protectionWorld } from '../support/protection.ts';
import { noAbort, ownFolder, ownSwtpm } from '../support/tpm.ts';

t.setTimeout(120_000);

/** A daemon's guard, which looks when it is told to. */
function guard(t: Test, tcti: string, mode: ProtectMode, path: string) {
  const lines: string[] = [];
  const at = (priority: number) => (line: string) => void lines.push(`<${priority}>${line}`);
  const world = protectionWorld(t, tcti);
  let looked = Promise.withResolvers<void>();
  let next = Promise.withResolvers<void>();
  let keyInMemory = true;
  const stop = new AbortController();
  let alerts = 0;
  const one = new ProtectionGuard({
    name: 'home',
    path,
    mode,
    hasKey: () => keyInMemory,
    onAlert: () => alerts++,
    world: {
      files,
      journal: { info: at(6), warning: at(4), error: at(3) },
      clock: {
        nowMs: () => 0,
        async sleep() {
          looked.resolve();
          await next.promise;
        },
      },
      serverWorld: {
        async identity(from, signal) {
          const { certificate, key } = await readIdentityFile(from, world, signal);
          return { clientCertificate: certificate, clientKey: key };
        },
      },
    },
  });
  const running = one.run(stop.signal);
  t.teardown(() => {
    stop.abort();
    next.resolve();
    return running;
  });
  return {
    one,
    lines,
    alerts: () => alerts,
    running,
    /** Waits for the look under way. */
    look: () => looked.promise,
    async again(hasKey = true) {
      keyInMemory = hasKey;
      looked = Promise.withResolvers();
      const sleeping = next;
      next = Promise.withResolvers();
      sleeping.resolve();
      await looked.promise;
    },
  };
}

async function protectedBy(t: Test, tcti: string, mode: ProtectMode): Promise<string> {
  const path = `${ownFolder(t)}/identity`;
  const pem = new Secret(identityToPem(makeIdentity('nas', random)));
  const { bytes } = await protect(pem, { mode, method: null }, protectionWorld(t, tcti), noAbort);
  writeFileSync(path, bytes, { mode: 0o600 });
  return path;
}

t.test('the TPM of a running machine breaks, and comes back', async (t) => {
  const swtpm = await ownSwtpm(t);
  const path = await protectedBy(t, swtpm.tcti, 'require');
  const { one, lines, alerts, look, again } = guard(t, swtpm.tcti, 'require', path);
  await look();
  t.strictSame(lines, [], 'all is well');
  await swtpm.stop();
  await again();
  t.match(lines, [
    /^<3>home: major alert: tpm-protection-unavailable: [\w.-]+: \S+\/identity: .*; it goes on with the key that it has in memory, until it stops$/,
  ]);
  t.equal(`<3>home: major alert: tpm-protection-unavailable: ${one.alert}`, lines[0]);
  await again();
  t.equal(lines.length, 1, 'told once');
  t.equal(alerts(), 1);
  await swtpm.restart();
  await again();
  await swtpm.stop();
  await again(false);
  t.equal(lines.length, 2, 'told again, as it was well meanwhile');
  t.match(lines[1], /; it has nothing to fall back to$/);
});

t.test('the TPM was replaced', async (t) => {
  const [before, after] = await Promise.all([ownSwtpm(t), ownSwtpm(t)]);
  const path = await protectedBy(t, before.tcti, 'require');
  const strict = guard(t, after.tcti, 'require', path);
  await strict.look();
  t.match(strict.lines, [/^<3>home: major alert: .*--rejoin\)/]);
  const lax = guard(t, after.tcti, 'best-effort', path);
  await lax.look();
  t.match(lax.lines, [/^<4>home: tpm-protection-unavailable: .*--rejoin\)/]);
  t.equal(lax.one.alert, null, 'the server is told where it is required');
});

t.test('a key that nothing protects', async (t) => {
  const { tcti } = await ownSwtpm(t);
  const path = await protectedBy(t, tcti, 'never');
  const strict = guard(t, tcti, 'require', path);
  await strict.look();
  t.match(strict.lines, [/^<3>.*\/identity is protected by nothing; it goes on with/]);
  const lax = guard(t, tcti, 'best-effort', path);
  await lax.look();
  t.strictSame(lax.lines, [], 'joining told it');
  const never = guard(t, tcti, 'never', path);
  await never.running;
  t.strictSame(never.lines, []);
});
