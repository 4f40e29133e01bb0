/**
 * Builds dist/fetch-luks-key: one executable that holds Node and the whole program, so that the machine that runs it
 * needs no Node. Bundle, strip Node's binary (stripping the result would break it), join the two.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { build } from 'esbuild';

const root = resolve(import.meta.dirname, '..');

async function bundle(entry: string, outfile: string): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    // A module, for top-level await; what is imported lazily stays lazy inside the one file.
    format: 'esm',
    target: 'esnext',
    // Smaller is faster to start; names are kept for the stack of a defect.
    minifySyntax: true,
    minifyWhitespace: true,
    // CommonJS packages ask for Node's own modules, and can get nothing else: no file is loaded at run time.
    banner: { js: 'const require=(name)=>process.getBuiltinModule(name);' },
    logLevel: 'warning',
  }).catch((cause) => {
    throw new Error(`${entry} cannot be bundled`, { cause });
  });
}

/** @throws Error with the tool's own words */
function run(tool: string, args: readonly string[], hint: string): void {
  const { error, status, stderr, stdout } = spawnSync(tool, args, { cwd: root, encoding: 'utf8' });
  if (error !== undefined) throw new Error(`${tool}: ${error.message} (hint: ${hint})`);
  if (status !== 0) throw new Error(`${tool} ${args.join(' ')}: exit status ${status}\n${stdout}${stderr}`);
}

/** Node's single executable (doc/api/single-executable-applications.md). */
function join(work: string, bundled: string, strippedNode: string, output: string): void {
  const configuration = {
    main: bundled,
    mainFormat: 'module',
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
  const file = `${work}/sea.json`;
  writeFileSync(file, JSON.stringify(configuration));
  run(process.execPath, [`--build-sea=${file}`], 'Node 26 or later is needed: npm ci, then npm run build');
}

async function buildExecutable(name: string): Promise<void> {
  const started = new Date();
  mkdirSync(`${root}/dist`, { recursive: true });
  const work = mkdtempSync(`${root}/dist/.build-`);
  try {
    await bundle(`src/bin/${name}.ts`, `${work}/${name}.mjs`);
    run('strip', ['-o', `${work}/node`, process.execPath], 'apt-get install binutils');
    join(work, `${work}/${name}.mjs`, `${work}/node`, `${work}/${name}`);
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
