/**
 * Builds dist/fetch-luks-key: one executable that holds Node and the whole program, so that the machine that runs it
 * needs no Node. Bundle, strip Node's binary (stripping the result would break it), join the two.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';

const root = resolve(import.meta.dirname, '..');

/** OpenSSL, sockets and child processes together cost as much as the rest of the start, and not every way needs them. */
const loadedWhenUsed = [
  'node:child_process',
  'node:crypto',
  'node:fs/promises',
  'node:net',
  'node:readline/promises',
];

/**
 * Stands in for `require` inside the bundle, where only Node's own modules are left to be required: no file is loaded
 * at run time. Those in the list are loaded at the first use of one of their members, not when they are named.
 */
const requireBuiltin = `(lazy) => (name) =>
  lazy.includes(name)
    ? new Proxy({}, { get: (_, member) => process.getBuiltinModule(name)[member] })
    : process.getBuiltinModule(name)`;

/**
 * undici loads its HTTP/2 side, and Node's with it, whether or not a server is ever offered HTTP/2: 25 ms for nothing,
 * as our TLS clients offer HTTP/1.1 alone.
 */
const withoutHttp2: Plugin = {
  name: 'without-http2',
  setup(build) {
    build.onLoad({ filter: /\/undici\/lib\/dispatcher\/client-h2\.js$/ }, () => ({
      contents: "module.exports = () => { throw new Error('HTTP/2 is never offered'); };",
    }));
  },
};

async function bundle(entry: string, outfile: string): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    // CommonJS, because only for it V8's code cache is kept. What is imported lazily stays lazy inside the one file.
    format: 'cjs',
    target: 'esnext',
    // Smaller is faster to start; names are kept for the stack of a defect.
    minifySyntax: true,
    minifyWhitespace: true,
    banner: { js: `require=(${requireBuiltin})(${JSON.stringify(loadedWhenUsed)});` },
    plugins: [withoutHttp2],
    logLevel: 'warning',
  }).catch((cause) => {
    throw new Error(`${entry} cannot be bundled`, { cause });
  });
}

/** @throws Error with the tool's own words */
function run(tool: string, args: readonly string[], cwd: string, hint: string): void {
  const { error, status, stderr, stdout } = spawnSync(tool, args, { cwd, encoding: 'utf8' });
  if (error !== undefined) throw new Error(`${tool}: ${error.message} (hint: ${hint})`);
  if (status !== 0) throw new Error(`${tool} ${args.join(' ')}: exit status ${status}\n${stdout}${stderr}`);
}

/**
 * Node's single executable (doc/api/single-executable-applications.md), from and to files in `work`. Their names are
 * relative: the bundle's is kept in the result, and shown in the stack of a defect.
 */
function join(work: string, bundled: string, strippedNode: string, output: string): void {
  const configuration = {
    main: bundled,
    mainFormat: 'commonjs',
    executable: strippedNode,
    output,
    disableExperimentalSEAWarning: true,
    // 15 ms less from start to first line.
    useCodeCache: true,
    // node:ffi warns that it is experimental; SIGUSR1 would open a debugger's port.
    execArgv: ['--no-warnings', '--disable-sigusr1'],
    // NODE_OPTIONS is not obeyed.
    execArgvExtension: 'none',
  };
  writeFileSync(`${work}/sea.json`, JSON.stringify(configuration));
  run(
    process.execPath,
    ['--build-sea=sea.json'],
    work,
    'Node 26 or later is needed: npm ci, then npm run build',
  );
}

async function buildExecutable(name: string): Promise<void> {
  const started = new Date();
  mkdirSync(`${root}/dist`, { recursive: true });
  const work = mkdtempSync(`${root}/dist/.build-`);
  try {
    await bundle(`src/bin/${name}.ts`, `${work}/${name}.cjs`);
    run('strip', ['-o', 'node', process.execPath], work, 'apt-get install binutils');
    join(work, `${name}.cjs`, 'node', name);
    // As old as its sources were when they were read: one that was saved during the build counts as newer.
    utimesSync(`${work}/${name}`, started, started);
    renameSync(`${work}/${name}`, `${root}/dist/${name}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  await buildExecutable('fetch-luks-key');
} catch (thrown) {
  process.stderr.write(`build: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
