// The bundler's plugin that lets the program start with little: Node's own modules, and parts of packages that are rare
// here, are loaded when they are first touched. What is written is the same program otherwise.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { builtinModules, createRequire, findPackageJSON } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Plugin, PluginBuild } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SRC = join(ROOT, 'src');
const require = createRequire(import.meta.url);

/**
 * What packages require as they start and touch only for features that are off, or rare here. Each row is the folder of
 * the file that requires it, and what it requires.
 */
const WHEN_TOUCHED: readonly (readonly [from: string, what: RegExp])[] = [
  ['@fastify/reply-from', /^node:https?2?$/],
  ['fastify/lib', /^node:http(?:s|2)$/],
  ['pino', /\/transport$/],
  ['undici/lib/dispatcher', /\/client-h2\.js$/],
];

/** Of Node's modules, what a package reads as it starts and is a number of a protocol: CANCEL of RFC 9113, section 7. */
const KNOWN: Readonly<Record<string, string>> = {
  http2: `{
    constants: new Proxy({ NGHTTP2_CANCEL: 8 }, { get: (known, key) => known[key] ?? load().constants[key] }),
  }`,
};

/** The same, where it is much code and shares no state with those that require it: each is a file of its own. */
const OWN_FILE: readonly (readonly [from: string, what: RegExp, name: string])[] = [
  ['@fastify/http-proxy', /^ws$/, 'ws'],
  ['fastify/lib', /^@fastify\/ajv-compiler$/, 'ajv-compiler'],
  ['fastify/lib', /^@fastify\/fast-json-stringify-compiler$/, 'fast-json-stringify-compiler'],
  ['fastify', /^light-my-request$/, 'light-my-request'],
  ['undici/lib', /\/web\/fetch\/body(?:\.js)?$/, 'undici-fetch-body'],
];

/** Packages that src imports when something rare is used: a file of its own, which all that is bundled has in common. */
const RARE: Readonly<Record<string, string>> = {
  '@prometheus-io/client': 'prometheus-client',
  '@redis/client': 'redis-client',
  'proxy-agent': 'proxy-agent',
};

/**
 * The parts of undici that forward calls, by the file each is in: its index loads all of fetch, WebSocket and caches.
 * An import of another one ends the build.
 */
const UNDICI_PARTS: Readonly<Record<string, string>> = {
  Agent: 'lib/dispatcher/agent.js',
  BalancedPool: 'lib/dispatcher/balanced-pool.js',
  Client: 'lib/dispatcher/client.js',
  Dispatcher: 'lib/dispatcher/dispatcher.js',
  Pool: 'lib/dispatcher/pool.js',
  buildConnector: 'lib/core/connect.js',
  errors: 'lib/core/errors.js',
};

/** What Node itself has loaded before the first line of ours: nothing is won by waiting. */
const LOADED_ALREADY: ReadonlySet<string> = new Set(['buffer', 'diagnostics_channel', 'events', 'fs', 'path', 'url']);

/** What src imports of Node's modules, by module. */
const importedNames = new Map<string, Set<string>>();
for (const file of globSync('**/*.ts', { cwd: SRC }))
  for (const [, imported = '', module = ''] of readFileSync(join(SRC, file), 'utf8').matchAll(
    /^import (?!type )([^;'"]*?) from 'node:([a-z_/0-9]+)'/gm,
  )) {
    const list = /^\{([^}]*)\}$/.exec(imported)?.[1];
    if (list === undefined) throw new Error(`src/${file}: name what you import from node:${module}`);
    const names = importedNames.get(module) ?? new Set();
    for (const name of list.split(','))
      if (!/^\s*(?:type\s|$)/.test(name)) names.add(name.trim().split(' as ')[0] ?? '');
    importedNames.set(module, names);
  }

/**
 * Node's own modules are loaded at the first use of one of their exports, and with `getBuiltinModule`: an import of
 * `node:http` or `node:util` reads every export there is, and some of these load all of fetch (40 ms of CPU time). What
 * packages require is loaded at once, as they expect, save the rows above. What is to be a file of its own is put into
 * `ownFiles`: by its name in the folder `later`, the module that it is made from.
 */
export function loadWhenTouched(ownFiles: Map<string, string>): Plugin {
  return { name: 'load when touched', setup: (build) => setUp(build, ownFiles) };
}

function setUp(build: PluginBuild, ownFiles: Map<string, string>): void {
  build.onResolve({ filter: /^(?:node:)?[a-z_/0-9]+$/ }, ({ path, kind, importer }) => {
    const name = path.replace(/^node:/, '');
    if (!builtinModules.includes(name)) return undefined;
    if (kind === 'require-call') return { path: name, namespace: isTouchedLater(importer, path) ? 'later' : 'builtin' };
    // Whoever uses none of its exports does not have it.
    return isOurs(importer)
      ? { path: name, namespace: 'lazy-builtin', sideEffects: false }
      : { path: name, namespace: 'builtin' };
  });
  build.onResolve({ filter: /^undici$/ }, ({ kind }) => ({
    path: 'undici',
    namespace: kind === 'require-call' ? 'undici-cjs' : 'undici',
  }));
  build.onResolve({ filter: /^[@a-z]/ }, ({ path, kind, importer, resolveDir }) => {
    if (kind !== 'dynamic-import' || !isOurs(importer)) return undefined;
    const file = createRequire(join(resolveDir, 'any.ts')).resolve(path);
    const name = RARE[path];
    if (name !== undefined) {
      ownFiles.set(name, file);
      return { path: name, namespace: 'rare' };
    }
    return isCommonJs(file) ? { path: file, namespace: 'commonjs-names' } : undefined;
  });
  build.onResolve({ filter: /./ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
    if (kind !== 'require-call' || pluginData === 'itself') return undefined;
    const name = OWN_FILE.find(([from, what]) => isFrom(importer, from) && what.test(path))?.[2];
    if (name === undefined && !isTouchedLater(importer, path)) return undefined;
    const found = await build.resolve(path, { kind, importer, resolveDir, pluginData: 'itself' });
    // From the root: what is written must not tell where it was built.
    if (name === undefined) return { path: `./${slashed(relative(ROOT, found.path))}`, namespace: 'later' };
    ownFiles.set(name, found.path);
    return { path: name, namespace: 'own-file' };
  });
  build.onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
    contents: `module.exports = process.getBuiltinModule('node:${path}');`,
  }));
  build.onLoad({ filter: /./, namespace: 'lazy-builtin' }, ({ path }) => ({ contents: lazyBuiltin(path) }));
  build.onResolve({ filter: /^read-when-used:/ }, ({ path }) => ({
    path: path.slice('read-when-used:'.length),
    namespace: 'read-when-used',
    sideEffects: false,
  }));
  build.onLoad({ filter: /./, namespace: 'read-when-used' }, ({ path }) => ({ contents: readWhenUsed(path) }));
  build.onLoad({ filter: /./, namespace: 'later' }, ({ path }) => ({
    contents: builtinModules.includes(path)
      ? standIn(`process.getBuiltinModule('node:${path}')`, KNOWN[path])
      : standIn(`require(${JSON.stringify(path)})`),
    resolveDir: ROOT,
    pluginData: 'itself',
  }));
  build.onLoad({ filter: /./, namespace: 'own-file' }, ({ path }) => ({
    contents: `const { fromHere } = require('from-here');\n${standIn(`fromHere('./later/${path}.cjs')`)}`,
  }));
  build.onLoad({ filter: /./, namespace: 'rare' }, ({ path }) => {
    const names = Object.keys(require(ownFiles.get(path) ?? path)).filter((name) => name !== 'default');
    return {
      contents: `import { fromHere } from 'from-here';
export const { ${names.join(', ')} } = fromHere('./later/${path}.cjs');`,
    };
  });
  build.onResolve({ filter: /^from-here$/ }, () => ({ path: 'from-here', namespace: 'from-here' }));
  build.onLoad({ filter: /./, namespace: 'from-here' }, () => ({
    contents: `let load;
export const fromHere = (file) =>
  (load ??= process.getBuiltinModule('node:module').createRequire(import.meta.url))(file);`,
  }));
  build.onLoad({ filter: /./, namespace: 'commonjs-names' }, ({ path }) => ({
    contents: `export { ${Object.keys(require(path)).join(', ')} } from ${JSON.stringify(path)};`,
    resolveDir: ROOT,
  }));
  build.onLoad({ filter: /./, namespace: 'undici' }, () =>
    undiciParts((name, file) => `export { default as ${name} } from '${file}';`),
  );
  build.onLoad({ filter: /./, namespace: 'undici-cjs' }, () =>
    undiciParts((name, file) => `Object.defineProperty(exports, '${name}', { get: () => require('${file}') });`),
  );
}

function isOurs(importer: string): boolean {
  return importer.startsWith(SRC);
}

function isFrom(importer: string, folder: string): boolean {
  return slashed(importer).includes(`/node_modules/${folder}/`);
}

function slashed(path: string): string {
  return path.replaceAll('\\', '/');
}

function isTouchedLater(importer: string, what: string): boolean {
  return WHEN_TOUCHED.some(([from, pattern]) => isFrom(importer, from) && pattern.test(what));
}

/** Whether a file of a package is CommonJS: an `import()` of it has names in Node, and in a bundle only `default`. */
function isCommonJs(file: string): boolean {
  if (!file.endsWith('.js')) return file.endsWith('.cjs');
  const manifest = findPackageJSON(pathToFileURL(file));
  return manifest === undefined || JSON.parse(readFileSync(manifest, 'utf8')).type !== 'module';
}

/**
 * A module with those exports of a built-in one that src imports, each of which loads it when it is used; at once, where
 * Node has it already.
 */
function lazyBuiltin(name: string): string {
  const names = namesFrom(name);
  // A Node that is too old to have the function is told so by the first file.
  if (LOADED_ALREADY.has(name))
    return `export const { ${names.join(', ')} } = process.getBuiltinModule?.('node:${name}') ?? {};`;
  return `${loadOnce(name)}
${names.flatMap((key) => standInFor(name, key) ?? []).join('\n')}
export { ${names.filter((key) => standInFor(name, key) === null).join(', ')} } from 'read-when-used:${name}';`;
}

/** What stands in for one of them; null for a class, and what Node reads more of than its name. */
function standInFor(name: string, key: string): string | null {
  if (key === 'constants')
    return 'export const constants = /* @__PURE__ */ new Proxy({}, { get: (_, one) => load().constants[one] });';
  const value: unknown = require(`node:${name}`)[key];
  const isOnlyCalled =
    typeof value === 'function' && /^[a-z]/.test(key) && Reflect.ownKeys(value).every((own) => OF_FUNCTIONS.has(own));
  return isOnlyCalled ? `export const ${key} = (...given) => load().${key}(...given);` : null;
}

/** What is on functions that are only called; the last two, on those of node:os. */
const OF_FUNCTIONS: ReadonlySet<string | symbol> = new Set([
  'length',
  'name',
  'prototype',
  'withoutStackTrace',
  Symbol.toPrimitive,
]);

/** The others: each is read from the module whenever it is used, for which a start pays more. */
function readWhenUsed(name: string): string {
  const names = namesFrom(name).filter((key) => standInFor(name, key) === null);
  return `${loadOnce(name)}
for (const key of ${JSON.stringify(names)})
  Object.defineProperty(exports, key, { enumerable: true, get: () => load()[key] });`;
}

function namesFrom(name: string): string[] {
  return [...(importedNames.get(name) ?? [])];
}

function loadOnce(name: string): string {
  return `let loaded;
const load = () => (loaded ??= process.getBuiltinModule('node:${name}'));`;
}

/**
 * What stands in for a whole module, a function or a class among them, until it is touched. `known` is code for an object
 * of what is told without loading it.
 */
function standIn(load: string, known = '{}'): string {
  return `const load = () => ${load};
const known = ${known};
module.exports = new Proxy(function () {}, {
  get: (_, key) => Object.hasOwn(known, key) ? known[key] : load()[key],
  set: (_, key, value) => Reflect.set(load(), key, value),
  has: (_, key) => key in load(),
  apply: (_, self, given) => Reflect.apply(load(), self, given),
  construct: (_, given) => Reflect.construct(load(), given),
});`;
}

function undiciParts(toCode: (name: string, file: string) => string): { contents: string; resolveDir: string } {
  const folder = dirname(require.resolve('undici/package.json'));
  const lines = Object.entries(UNDICI_PARTS).map(([name, file]) => {
    if (!existsSync(join(folder, file))) throw new Error(`undici has no ${file} any more: see what replaces it`);
    return toCode(name, `./${file}`);
  });
  // Its index does so too.
  const api = `Object.assign(require('./lib/dispatcher/dispatcher.js').prototype, require('./lib/api/index.js'));`;
  return { contents: [...lines, api].join('\n'), resolveDir: folder };
}
