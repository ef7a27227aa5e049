// First step of the build: puts the program and the packages that it runs with into as few files as it needs at a time, into
// the folder given, `dist` by default. Each command, and each part that is rare, stays a file of its own. Writes beside
// them whose code that is: `bundled-packages.json` and `sbom.cdx.json` for machines, `THIRD-PARTY-LICENSES` for people and
// their lawyers.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode, encode, type SourceMapSegment } from '@jridgewell/sourcemap-codec';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { VENDORED } from '../src/inspector/page-files.ts';
import { type BundledPackage, licencesPage, packagesOf } from './licences.ts';
import { loadWhenTouched } from './load-when-touched.ts';
import { billOfMaterials } from './sbom.ts';
import { removeUnreached } from './unreached-modules.ts';

/** A file that was written, by its path from the root. */
type Output = [file: string, Metafile['outputs'][string]];

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Stays outside, as a dependency that npm installs: a package that is WebAssembly. */
const OUTSIDE = ['quickjs-wasi', 'quickjs-wasi/*'];

/** Agents of proxy-agent that the gateway has its own ways for: theirs bring clients of FTP and of Kerberos along. */
const LEFT_OUT = /^(?:http|https|pac)-proxy-agent$/;

/** What the package's face has, of values. */
const FACE = Object.keys(await import('../src/index.ts'));

const dist = resolve(process.argv[2] ?? join(ROOT, 'dist'));
// Files are called by what is in them: those of the build before would stay.
rmSync(dist, { recursive: true, force: true });
const ownFiles = new Map<string, string>();
const common = {
  absWorkingDir: ROOT,
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
const ENTRIES = {
  './compiled.ts': './compiled.js',
  './run.ts': './run.js',
  './probes.ts': './probes.js',
  './serving.ts': './serving.cjs',
};
/** What starts small: each is one file with all it needs, whatever others need as well. */
const small = await Promise.all(
  [
    { in: 'src/main.ts', out: 'main' },
    { in: 'src/cli/compiled.ts', out: 'compiled' },
    { in: 'src/cli/probes.ts', out: 'probes' },
    { in: 'src/upstream/egress/pac-thread.ts', out: 'upstream/egress/pac-thread' },
  ].map((entryPoint) =>
    build({
      ...common,
      outdir: dist,
      entryPoints: [entryPoint],
      format: 'esm',
      external: OUTSIDE,
      plugins: [otherFiles(ENTRIES), loadWhenTouched(new Map())],
    }),
  ),
);
/**
 * What serves, and the face for embedding: one script, so that what is compiled of it can be kept, and each module is
 * there once. `serving.cjs` is loaded by the command with `src/cli/kept-script.ts`.
 */
const serving = await build({
  ...common,
  stdin: { contents: "export * from './src/index.ts';\nexport * from './src/cli/serving.ts';", resolveDir: ROOT },
  outfile: join(dist, 'serving.cjs'),
  format: 'cjs',
  // As all of it would be in modules.
  banner: { js: '"use strict";const meta={url:process.getBuiltinModule("node:url").pathToFileURL(__filename).href};' },
  define: { 'import.meta': 'meta' },
  plugins: [otherFiles(ENTRIES), loadWhenTouched(ownFiles)],
});
/** The other commands have what they need of it a second time, in pieces: each, and each rare part, is a file. */
const commands = await build({
  ...common,
  outdir: dist,
  entryPoints: [{ in: 'src/cli/run.ts', out: 'run' }],
  // Flat: a file of ours finds what is beside the program from `dist`, wherever it was in `src`.
  chunkNames: '[name]-[hash]',
  splitting: true,
  format: 'esm',
  external: OUTSIDE,
  plugins: [otherFiles(ENTRIES), loadWhenTouched(ownFiles)],
});
const later = await build({
  ...common,
  outdir: dist,
  entryPoints: Array.from(ownFiles, ([name, file]) => ({ in: file, out: `later/${name}` })),
  outExtension: { '.js': '.cjs' },
  format: 'cjs',
  plugins: [leftOut()],
});

writeFileSync(join(dist, 'index.js'), `export { ${FACE.join(', ')} } from './serving.cjs';\n`);
removeUnreached(dist, ['main.js', 'index.js']);
const outputs = [...small, serving, commands, later]
  .flatMap(({ metafile }) => Object.entries(metafile.outputs))
  .filter(([file]) => existsSync(join(ROOT, file)));
// Of the page's packages the one file is copied that browsers load.
const vendored = Object.keys(VENDORED).map((name) => `node_modules/${name}/package.json`);
const packages = packagesOf(ROOT, [...filesOf(outputs), ...vendored]);
writeFileSync(join(dist, 'bundled-packages.json'), `${JSON.stringify(packages.map(row), null, 1)}\n`);
writeFileSync(join(dist, 'THIRD-PARTY-LICENSES'), licencesPage(packages));
writeFileSync(join(dist, 'sbom.cdx.json'), billOfMaterials(ROOT, packages));
for (const [file, { bytes }] of outputs) {
  if (/\.c?js$/.test(file) && bytes >= 100_000) assertAscii(file);
  if (file.endsWith('.map')) keepLines(join(ROOT, file));
}

/** Ends what asks for one of those. */
function leftOut(): Plugin {
  return {
    name: 'left out',
    setup(build) {
      build.onResolve({ filter: LEFT_OUT }, ({ path }) => ({ path, namespace: 'left-out' }));
      build.onLoad({ filter: /./, namespace: 'left-out' }, ({ path }) => ({
        contents: `throw new Error('${path} is not part of this program');`,
      }));
    },
  };
}

/** A stack is to name file and line. Places within a line, and names, which are as in the sources, are most of a map. */
function keepLines(file: string): void {
  const map = JSON.parse(readFileSync(file, 'utf8')) as { mappings: string; names: string[] };
  const lines = decode(map.mappings).map((segments) => {
    let last = '';
    return segments.flatMap(([column, ...place]): SourceMapSegment[] => {
      const [source, line, at] = place;
      const key = `${source}:${line}`;
      if (key === last) return [];
      last = key;
      return [source === undefined ? [column] : [column, source, line as number, at as number]];
    });
  });
  writeFileSync(file, JSON.stringify({ ...map, names: [], mappings: encode(lines) }));
}

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
function assertAscii(file: string): void {
  // Strings are written with escapes: it is in a regular expression.
  const where = /.{0,40}[^\0-\x7f]/.exec(readFileSync(join(ROOT, file), 'utf8'))?.[0];
  if (where !== undefined) throw new Error(`${file} is not ASCII, write \\u and its number: ${where}`);
}

/** The files whose code is in what was written; modules that are made here have a word and a colon in front. */
function filesOf(written: readonly Output[]): string[] {
  const files = new Set(written.flatMap(([, { inputs }]) => Object.keys(inputs)));
  return [...files].filter((file) => !/^[a-z-]+:/.test(file));
}

function row({ name, version, licence }: BundledPackage) {
  return { name, version, licence };
}
