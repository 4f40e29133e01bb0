/**
 * One executable that holds Node and the whole program, so that the machine that runs it needs no Node: bundle, strip
 * Node's binary (stripping the result would break it), join the two.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';

const root = resolve(import.meta.dirname, '..');

/** OpenSSL, sockets and child processes together cost as much as the rest of the start, and not every way needs them. */
const loadedWhenUsed = ['node:child_process', 'node:crypto', 'node:fs/promises', 'node:net', 'node:tty'];

/**
 * Stands in for `require` inside the bundle, where only Node's own modules are left to be required: no file is loaded
 * at run time. Those in the list are loaded at the first use of one of their members, not when they are named.
 */
const requireBuiltin = `(lazy) => (name) =>
  lazy.includes(name)
    ? new Proxy({}, { get: (_, member) => process.getBuiltinModule(name)[member] })
    : process.getBuiltinModule(name)`;

/**
 * What undici has and we never use. It loads its HTTP/2 side, and Node's with it, whether or not a server is ever offered
 * HTTP/2: 25 ms for nothing, as our TLS clients offer HTTP/1.1 alone. The bodies of `fetch`, forms and all, are as large
 * as a fifth of our own code; ours are buffers.
 */
const withoutRest: Plugin = {
  name: 'without-rest',
  setup(build) {
    build.onLoad(
      { filter: /\/undici\/lib\/(?:dispatcher\/client-h2|web\/fetch\/body)\.js$/ },
      ({ path }) => ({
        contents: `module.exports = () => { throw new Error('${basename(path)} is not part of this'); };`,
      }),
    );
  },
};

/** The command whose start somebody waits for at boot. */
const AT_BOOT = 'handle';

/**
 * Leaves the other commands out: V8 reads a code cache as a whole, and that of all of them takes 5 of 60 ms longer. What
 * `main` imports is resolved by its name alone, so one that is missing is a command that was not asked for.
 */
const atBootAlone: Plugin = {
  name: 'at-boot-alone',
  setup(build) {
    build.onResolve({ filter: /^\.\// }, ({ kind, importer, path }) =>
      kind === 'dynamic-import' && importer === `${root}/src/cli/main.ts` && path !== `./${AT_BOOT}.ts`
        ? { path, namespace: 'absent' }
        : null,
    );
    build.onLoad({ filter: /^/, namespace: 'absent' }, ({ path }) => ({
      contents: `throw new Error('${path} is not part of this');`,
    }));
  },
};

/** @returns folders of the npm packages that are in it, from the top of the work tree */
async function bundle(entry: string, outfile: string, plugins: Plugin[]): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    // As an ES module it was never faster to start. What is imported lazily stays lazy inside the one file.
    format: 'cjs',
    target: 'esnext',
    // Smaller is faster to start; a defect is told by its message, never by a stack.
    minify: true,
    banner: { js: `(function(require){require=(${requireBuiltin})(${JSON.stringify(loadedWhenUsed)});` },
    footer: { js: '})' },
    plugins: [withoutRest, ...plugins],
    metafile: true,
    logLevel: 'warning',
  }).catch((cause) => {
    throw new Error(`${entry} cannot be bundled`, { cause });
  });
  const folders = Object.keys(metafile.inputs).flatMap(
    (file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? [],
  );
  return [...new Set(folders)].sort();
}

/** @throws Error with the tool's own words */
export function run(tool: string, args: readonly string[], cwd: string, hint: string): void {
  const { error, status, stderr, stdout } = spawnSync(tool, args, { cwd, encoding: 'utf8' });
  if (error !== undefined) throw new Error(`${tool}: ${error.message} (hint: ${hint})`);
  if (status !== 0) throw new Error(`${tool} ${args.join(' ')}: exit status ${status}\n${stdout}${stderr}`);
}

/** Node for one processor, and the tool that strips such a binary. */
export interface NodeBinary {
  readonly path: string;
  readonly strip: string;
  /** What this processor cannot run it cannot make a code cache for. */
  readonly isOurs: boolean;
}

/**
 * Compiles every function ahead where that is wanted, and not only those that are called while the bundle is loaded, as
 * `useCodeCache` of Node's single executable does: 10 of 70 ms. V8 takes a cache that was made with the same flags, so
 * `lazy` is only off between the two.
 */
const makeCodeCache = `
const [bundled, output, lazy] = process.argv.slice(2);
const { readFileSync, writeFileSync } = require('node:fs');
const { setFlagsFromString } = require('node:v8');
setFlagsFromString(lazy);
const script = new (require('node:vm').Script)(readFileSync(bundled, 'latin1'), { filename: bundled });
setFlagsFromString('--lazy');
writeFileSync(output, script.createCachedData());
`;

/** A bundle is ASCII. Its name is shown in the stack of a defect. @param chosen JavaScript that gives a bundle's name */
function starter(chosen: string, cached: boolean): string {
  const cachedData = cached ? ", cachedData: new Uint8Array(getRawAsset(name + '.cache'))" : '';
  return `const { getRawAsset } = require('node:sea');
const name = ${chosen};
const source = Buffer.from(getRawAsset(name + '.cjs')).latin1Slice();
const script = new (require('node:vm').Script)(source, { filename: name + '.cjs'${cachedData} });
script.runInThisContext()(require);
`;
}

/**
 * Node's single executable (doc/api/single-executable-applications.md), from and to files in `work`.
 * @param bundles one for all commands, and `AT_BOOT` where there is that command
 */
function join(work: string, bundles: readonly string[], node: NodeBinary, output: string): void {
  run(node.strip, ['-o', 'node', node.path], work, 'apt-get install binutils binutils-aarch64-linux-gnu');
  // For the build alone: with it two code caches of the same source have the same bytes.
  const seed = '--random-seed=1';
  const hint = 'Node 26 or later is needed: npm ci, then npm run build';
  const hasOneForBoot = bundles.includes(AT_BOOT);
  const chosen = hasOneForBoot
    ? `process.argv[2] === '${AT_BOOT}' ? '${AT_BOOT}' : '${output}'`
    : `'${output}'`;
  writeFileSync(`${work}/start.cjs`, starter(chosen, node.isOurs));
  if (node.isOurs) {
    writeFileSync(`${work}/make-code-cache.cjs`, makeCodeCache);
    for (const name of bundles) {
      const lazy = hasOneForBoot && name !== AT_BOOT ? '--lazy' : '--no-lazy';
      run(node.path, [seed, 'make-code-cache.cjs', `${name}.cjs`, `${name}.cache`, lazy], work, hint);
    }
  }
  const assets = bundles.flatMap((name) => [`${name}.cjs`, ...(node.isOurs ? [`${name}.cache`] : [])]);
  const configuration = {
    main: 'start.cjs',
    mainFormat: 'commonjs',
    executable: 'node',
    output,
    disableExperimentalSEAWarning: true,
    assets: Object.fromEntries(assets.map((file) => [file, file])),
    // node:ffi warns that it is experimental; SIGUSR1 would open a debugger's port.
    // 4 is in MiB: a handler lives for a tenth of a second, and with V8's own 1 collects garbage several times in it.
    execArgv: ['--no-warnings', '--disable-sigusr1', '--min-semi-space-size=4'],
    // NODE_OPTIONS is not obeyed.
    execArgvExtension: 'none',
  };
  writeFileSync(`${work}/sea.json`, JSON.stringify(configuration));
  const builder = node.isOurs ? node.path : process.execPath;
  run(builder, [seed, '--build-sea=sea.json'], work, hint);
}

/**
 * Bundles src/bin/NAME.ts and joins it with Node.
 * @param output appears when it is complete
 * @returns folders of the npm packages that are in it, from the top of the work tree
 * @throws Error with the tool's own words
 */
export async function buildExecutable(name: string, node: NodeBinary, output: string): Promise<string[]> {
  const started = new Date();
  mkdirSync(dirname(output), { recursive: true });
  const work = mkdtempSync(`${dirname(output)}/.build-`);
  try {
    const entry = `src/bin/${name}.ts`;
    const bundles = [name];
    const packages = await bundle(entry, `${work}/${name}.cjs`, []);
    if (name === 'fetch-luks-key') {
      await bundle(entry, `${work}/${AT_BOOT}.cjs`, [atBootAlone]);
      bundles.push(AT_BOOT);
    }
    join(work, bundles, node, name);
    // As old as its sources were when they were read: one that was saved during the build counts as newer.
    utimesSync(`${work}/${name}`, started, started);
    renameSync(`${work}/${name}`, output);
    return packages;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
