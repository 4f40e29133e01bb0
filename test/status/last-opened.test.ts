import t from 'tap';
import type { Runner } from '../../src/base/ports.ts';
import { lastOpened } from '../../src/status/last-opened.ts';

const AT_MS = 1_700_000_000_000;

/** journalctl(1) that has these messages of ours, the newest first. */
function journalWith(...messages: string[]): Runner {
  const lines = messages.map((MESSAGE) =>
    JSON.stringify({ MESSAGE, __REALTIME_TIMESTAMP: String(1000 * AT_MS) }),
  );
  return { run: async () => ({ status: 0, stdout: Buffer.from(lines.join('\n')), stderr: '' }) };
}

t.test('by what, and how fast, the volume was opened last', async (t) => {
  const by = 'tang http://in.example';
  const plain = `data: key delivered, opened by ${by} in 812 ms`;
  const opened = { atMs: AT_MS, tookMs: 812, by };
  for (const [title, messages, expected] of [
    ['all its pins are well', [plain], opened],
    [
      'one of them failed',
      [`${plain}, without tpm2: PCR 7 (bank sha256) changed since the key was sealed (hint: in 3 ms)`],
      opened,
    ],
    ['refused since then, and another volume opened', ['data: refused', `more${plain}`, plain], opened],
    ['never', ['data: tpm2: no TPM'], null],
  ] as const) {
    const { signal } = new AbortController();
    t.same(await lastOpened('data', journalWith(...messages), signal), expected, title);
  }
});
