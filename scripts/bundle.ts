// First step of the build: puts the program and the packages that it runs with into as few files as it needs at a time, into
// the folder given, `dist` by default. Each command, and each part that is rare, stays a file of its own. Writes beside
// them whose code that is: `bundled-packages.json` for machines, `THIRD-PARTY-LICENSES` for people and their lawyers.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { type BundledPackage, licencesPage, packagesOf } from './licences.ts';
import { loadWhenTouched } from './load-when-touched.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Stays outside, as a dependency that npm installs: a package that is WebAssembly. */
const OUTSIDE = ['quickjs-wasi', 'quickjs-wasi/*'];

const dist = resolve(process.argv[2] ?? join(ROOT, 'dist'));
// Files are called by what is in them: those of the build before would stay.
rmSync(dist, { recursive: true, force: true });
const ownFiles = new Map<string, string>();
const common = {
  absWorkingDir: ROOT,
  outdir: dist,
  bundle: true,
  platform: 'node',
  target: 'node22.22',
  mainFields: ['module', 'main'],
  // Names stay, so that a profile can be read; blanks and comments are in the sources that the maps name.
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
} satisfies BuildOptions;
/** Entries that others load: each is its file in `dist`. */
const ENTRIES = { './run.ts': './run.js', './probes.ts': './probes.js', './serving.ts': './serving.js' };
/** What starts small: each is one file with all it needs, whatever others need as well. */
const small = await Promise.all(
  [
    { in: 'src/main.ts', out: 'main' },
    { in: 'src/cli/probes.ts', out: 'probes' },
    { in: 'src/upstream/egress/pac-thread.ts', out: 'upstream/egress/pac-thread' },
  ].map((entryPoint) =>
    build({
      ...common,
      entryPoints: [entryPoint],
      format: 'esm',
      external: OUTSIDE,
      plugins: [otherFiles(ENTRIES), loadWhenTouched(new Map())],
    }),
  ),
);
/**
 * The same for what serves, and what embeds it: of that nearly all is needed at once, and each file costs a quarter of a
 * millisecond. The other commands have what they need of it a second time, in pieces.
 */
const split = await Promise.all(
  [
    [
      { in: 'src/cli/serving.ts', out: 'serving' },
      { in: 'src/index.ts', out: 'index' },
    ],
    [{ in: 'src/cli/run.ts', out: 'run' }],
  ].map((entryPoints) =>
    build({
      ...common,
      entryPoints,
      // Flat: a file of ours finds what is beside the program from `dist`, wherever it was in `src`.
      chunkNames: '[name]-[hash]',
      splitting: true,
      format: 'esm',
      external: OUTSIDE,
      plugins: [otherFiles(ENTRIES), loadWhenTouched(ownFiles)],
    }),
  ),
);
const later = await build({
  ...common,
  entryPoints: Array.from(ownFiles, ([name, file]) => ({ in: file, out: `later/${name}` })),
  outExtension: { '.js': '.cjs' },
  format: 'cjs',
});

const packages = packagesOf(
  ROOT,
  [...small, ...split, later].flatMap(({ metafile }) => filesOf(metafile)),
);
writeFileSync(join(dist, 'bundled-packages.json'), `${JSON.stringify(packages.map(row), null, 1)}\n`);
writeFileSync(join(dist, 'THIRD-PARTY-LICENSES'), licencesPage(packages));

for (const { metafile } of [...small, ...split]) assertAscii(metafile);

/** Leaves imports as they are that lead to an entry of its own. */
function otherFiles(byImport: Readonly<Record<string, string>>): Plugin {
  return {
    name: 'other files',
    setup(build) {
      build.onResolve({ filter: /^\.\/[a-z-]+\.ts$/ }, ({ path, kind }) => {
        const file = kind === 'dynamic-import' ? byImport[path] : undefined;
        return file === undefined ? undefined : { path: file, external: true };
      });
    },
  };
}

/** A source is held in memory as long as its code is, and with one character beyond Latin-1 it takes twice as much. */
function assertAscii({ outputs }: Metafile): void {
  for (const [file, { bytes }] of Object.entries(outputs)) {
    if (!file.endsWith('.js') || bytes < 100_000) continue;
    // Strings are written with escapes: it is in a regular expression.
    const where = /.{0,40}[^\0-\x7f]/.exec(readFileSync(join(ROOT, file), 'utf8'))?.[0];
    if (where !== undefined) throw new Error(`${file} is not ASCII, write \\u and its number: ${where}`);
  }
}

/** The files whose code is in what was written; modules that are made here have a word and a colon in front. */
function filesOf({ outputs }: Metafile): string[] {
  const files = new Set(Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs)));
  return [...files].filter((file) => !/^[a-z-]+:/.test(file));
}

function row({ name, version, licence }: BundledPackage) {
  return { name, version, licence };
}
