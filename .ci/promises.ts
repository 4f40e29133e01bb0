/**
 * Fails on a promise that nobody waits for. The linter proper infers types by itself and misses those of Node's
 * modules (`node:fs/promises`), so this asks the type checker, through tsgolint's headless protocol: one JSON request
 * on stdin; answers on stdout, each a length (32 bits, little endian), a type (1 byte) and JSON.
 */
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';

interface Diagnostic {
  readonly file_path: string;
  readonly rule?: string;
  readonly range?: { readonly pos: number };
  readonly message: { readonly description: string };
}

const always = [
  // tap itself waits for its subtests.
  {
    name: 'no-floating-promises',
    options: {
      allowForKnownSafePromises: [{ from: 'package', package: '@tapjs/core', name: 'PromiseWithSubtest' }],
    },
  },
  { name: 'await-thenable' },
];
// In a test a rejection that nobody handles ends the process, and that fails the test.
const outsideTests = [...always, { name: 'no-misused-promises' }];

const ofDiagnostic = 1;

function* answers(output: Buffer): Generator<Diagnostic> {
  for (let at = 0; at < output.length; ) {
    const end = at + 5 + output.readUInt32LE(at);
    const body = output.toString('utf8', at + 5, end);
    if (output[at + 4] !== ofDiagnostic) throw new Error(`tsgolint: ${body}`);
    yield JSON.parse(body) as Diagnostic;
    at = end;
  }
}

function lineOf(diagnostic: Diagnostic): string {
  const source = readFileSync(diagnostic.file_path).subarray(0, diagnostic.range?.pos ?? 0);
  const line = source.toString().split('\n').length;
  return `${relative('.', diagnostic.file_path)}:${line}: ${diagnostic.message.description} (${diagnostic.rule ?? 'tsconfig'})\n`;
}

const find = (pattern: string) => globSync(pattern).map((file) => resolve(file));
const product = find('{.ci,bench,packaging,src}/**/*.ts');
const tests = find('{test,vm-tests}/**/*.ts');
const tool = resolve(`node_modules/@oxlint-tsgolint/linux-${process.arch}/tsgolint`);
const request = {
  version: 2,
  configs: [
    { file_paths: product, rules: outsideTests },
    { file_paths: tests, rules: always },
  ],
};
const { stdout, stderr, status, error } = spawnSync(tool, ['headless'], {
  input: JSON.stringify(request),
  maxBuffer: Number.POSITIVE_INFINITY,
});
if (error !== undefined) throw error;
const lines = [...answers(stdout)].map(lineOf).sort();
process.stdout.write(lines.join(''));
if (status !== 0) process.stderr.write(stderr);
process.exitCode = status === 0 && lines.length === 0 && product.length > 0 && tests.length > 0 ? 0 : 1;
