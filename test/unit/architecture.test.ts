// The import graph of `src`, types included: no cycle, and no import that the table below does not allow. The linter's
// rows and the architecture page are compared with the same table, so that none of the three can drift.

import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Files of `src` itself that put the rooms together. Every other one is on the ground, save `main.ts`. */
const TOP_FILES = ['runtime', 'gateway-state', 'gateway', 'index'];

/** Which rooms each room may import, from the ground up: a room imports only rooms that stand before it. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  fs: [],
  ground: ['fs'],
  operations: ['fs', 'ground'],
  config: ['fs', 'ground', 'operations'],
  logging: ['fs', 'ground', 'operations', 'config'],
  audit: ['fs', 'ground', 'operations', 'config', 'logging'],
  usage: ['fs', 'ground', 'operations', 'config', 'logging'],
  reload: ['fs', 'ground', 'operations', 'config', 'logging'],
  inspector: ['fs', 'ground', 'operations', 'config', 'logging'],
  redis: ['fs', 'ground', 'operations', 'config', 'logging'],
  tracing: ['fs', 'ground', 'operations', 'config', 'logging'],
  auth: ['fs', 'ground', 'operations', 'config', 'logging', 'redis'],
  upstream: ['fs', 'ground', 'operations', 'config', 'logging', 'redis', 'auth'],
  server: [
    'fs',
    'ground',
    'operations',
    'config',
    'logging',
    'audit',
    'usage',
    'reload',
    'inspector',
    'redis',
    'tracing',
    'auth',
    'upstream',
  ],
  sandbox: [],
  top: [
    'fs',
    'ground',
    'operations',
    'config',
    'logging',
    'audit',
    'usage',
    'inspector',
    'redis',
    'tracing',
    'auth',
    'upstream',
    'server',
  ],
  cli: [
    'fs',
    'ground',
    'operations',
    'config',
    'logging',
    'audit',
    'usage',
    'reload',
    'inspector',
    'redis',
    'tracing',
    'auth',
    'upstream',
    'server',
    'sandbox',
    'top',
  ],
  main: ['cli'],
};

/** Which rooms may import the two frameworks. */
const FRAMEWORKS: Readonly<Record<string, readonly string[]>> = {
  fastify: ['server', 'top'],
  undici: ['upstream', 'server', 'top', 'cli'],
};

const NAMES = Object.keys(ROOMS);
const FOLDERS = NAMES.filter((name) => !['ground', 'top', 'main'].includes(name));
const FILES = globSync('src/**/*.ts', { cwd: ROOT }).map((file) => file.replaceAll(sep, '/'));
const GROUND_FILES = FILES.flatMap((file) => /^src\/([\w-]+)\.ts$/.exec(file)?.[1] ?? [])
  .filter((name) => name !== 'main' && !TOP_FILES.includes(name))
  .sort();

interface Import {
  readonly from: string;
  readonly to: string;
}

/** Imports between files of `src`, of values and of types, static and dynamic; `to` of a package is its name. */
const IMPORTS: readonly Import[] = FILES.flatMap((from) => {
  const text = readFileSync(join(ROOT, from), 'utf8');
  const specifiers = [
    ...text.matchAll(/(?:^(?:import|export)\b[^;'"`]*?\bfrom\s+|^import\s+|\bimport\(\s*)'([^']+)'/gm),
  ];
  return specifiers.map(([, specifier = '']) => ({
    from,
    to: specifier.startsWith('.') ? normalize(join(dirname(from), specifier)).replaceAll(sep, '/') : specifier,
  }));
});
const BETWEEN_FILES = IMPORTS.filter(({ to }) => to.startsWith('src/'));

function roomOf(file: string): string {
  const [, first = '', inner] = file.split('/');
  if (inner !== undefined) return first;
  const name = first.replace(/\.ts$/, '');
  if (name === 'main') return 'main';
  return TOP_FILES.includes(name) ? 'top' : 'ground';
}

t.test('the scan sees every import', async (t) => {
  t.ok(FILES.length > 100 && BETWEEN_FILES.length > 500, `${FILES.length} files, ${BETWEEN_FILES.length} imports`);
  t.strictSame(
    BETWEEN_FILES.filter(({ to }) => !FILES.includes(to)),
    [],
    'each leads to a file',
  );
  const has = (from: string, to: string) => BETWEEN_FILES.some((one) => one.from === from && one.to === to);
  t.ok(has('src/main.ts', 'src/cli/held-signals.ts'), 'a static one');
  t.ok(has('src/cli/compiled.ts', 'src/cli/serving.ts'), 'a dynamic one');
  t.ok(has('src/reload/changes.ts', 'src/config/gateway-config.ts'), 'one of a type');
});

t.test('every room has a row, and imports only rooms of the rows before it', async (t) => {
  t.strictSame(
    [...new Set(FILES.map(roomOf))].filter((room) => ROOMS[room] === undefined),
    [],
  );
  for (const [index, name] of NAMES.entries())
    t.strictSame(
      ROOMS[name]?.filter((room) => !NAMES.slice(0, index).includes(room)),
      [],
      name,
    );
});

t.test('no import runs up', async (t) => {
  const upward = BETWEEN_FILES.filter(({ from, to }) => {
    const [room, target] = [roomOf(from), roomOf(to)];
    return room !== target && !ROOMS[room]?.includes(target);
  });
  t.strictSame(upward, []);
  for (const [name, rooms] of Object.entries(FRAMEWORKS)) {
    const users = IMPORTS.filter(({ to }) => to === name || to.startsWith(`${name}/`)).map(({ from }) => from);
    t.strictSame(
      users.filter((file) => !rooms.includes(roomOf(file))),
      [],
      name,
    );
  }
});

/** What a gateway loads at its start: imports that are no types and stand at the top. */
function loadedAtStart(): string[] {
  const loaded = new Set<string>(['src/gateway.ts', 'src/cli/commands/serve.ts', 'src/cli/standalone.ts']);
  for (const from of loaded) {
    const source = readFileSync(join(ROOT, from), 'utf8');
    for (const [, specifier = ''] of source.matchAll(/^(?:import|export)\b(?! type\b)[^;'"`]*?\bfrom\s+'(\.[^']+)'/gm))
      loaded.add(normalize(join(dirname(from), specifier)).replaceAll(sep, '/'));
  }
  return [...loaded];
}

t.test('the client of the shared store is loaded by one file, when a connection is opened', async (t) => {
  const users = IMPORTS.filter(({ to }) => to.startsWith('@redis/')).map(({ from }) => from);
  t.strictSame([...new Set(users)], ['src/redis/link.ts']);
  const text = readFileSync(join(ROOT, 'src/redis/link.ts'), 'utf8');
  t.notMatch(text, /^import (?!type )[^;]*'@redis\/client'/m, 'not with the file');
  const loaded = loadedAtStart();
  t.ok(loaded.length > 200, `${loaded.length} files`);
  const shared = loaded.filter((file) => /^src\/redis\/|store\/redis/.test(file));
  t.strictSame(shared, [], 'nor with the gateway, where no such store is configured');
});

t.test('what makes and exports spans is not loaded with the gateway, where none is configured', async (t) => {
  const users = IMPORTS.filter(({ to }) => to.startsWith('@opentelemetry/')).map(({ from }) => from);
  t.ok(users.length > 0);
  t.strictSame(
    users.filter((from) => !from.startsWith('src/tracing/')),
    [],
  );
  const loaded = loadedAtStart();
  t.strictSame(
    loaded.filter((file) => users.includes(file)),
    [],
  );
  t.strictSame(
    loaded.filter((file) => file.startsWith('src/tracing/')).sort(),
    ['src/tracing/span-counts.ts', 'src/tracing/spans.ts', 'src/tracing/trace-context.ts'],
    'but for what asks whether there is any',
  );
});

t.test('no imports form a cycle, those of types included', async (t) => {
  const targets = new Map(FILES.map((file) => [file, new Set<string>()]));
  for (const { from, to } of BETWEEN_FILES) targets.get(from)?.add(to);
  // Files that import no other file that is left are no part of a cycle.
  for (let removed = true; removed; ) {
    const leaves = [...targets].filter(([, to]) => to.size === 0).map(([file]) => file);
    for (const leaf of leaves) targets.delete(leaf);
    for (const to of targets.values()) for (const leaf of leaves) to.delete(leaf);
    removed = leaves.length > 0;
  }
  t.strictSame([...targets.keys()], []);
});

/** The patterns that the linter refuses in a room: all rooms that it may not import, by folder and by file. */
function refusedIn(room: string): string[] {
  const refused = NAMES.filter((name) => name !== room && !ROOMS[room]?.includes(name));
  const folders = FOLDERS.filter((name) => refused.includes(name));
  const braced = (names: readonly string[]) => (names.length === 1 ? names[0] : `{${names.join(',')}}`);
  return [
    ...(folders.length > 0 ? [`**/${braced(folders)}/**`] : []),
    ...(refused.includes('ground') ? [`**/${braced(GROUND_FILES)}.ts`] : []),
    ...(refused.includes('top') ? [`**/${braced(TOP_FILES)}.ts`] : []),
    ...(refused.includes('main') ? ['**/main.ts'] : []),
    ...Object.keys(FRAMEWORKS).flatMap((name) => (FRAMEWORKS[name]?.includes(room) ? [] : [name, `${name}/**`])),
  ];
}

function includesOf(room: string): string[] {
  if (room === 'main') return ['src/main.ts'];
  const top = `{${TOP_FILES.join(',')}}`;
  if (room === 'top') return [`src/${top}.ts`];
  return room === 'ground' ? ['src/*.ts', `!src/${top}.ts`, '!src/main.ts'] : [`src/${room}/**`];
}

t.test('the linter refuses every import that the table does not allow', async (t) => {
  const { overrides } = JSON.parse(readFileSync(join(ROOT, 'biome.json'), 'utf8')) as {
    overrides: {
      includes: string[];
      linter?: { rules: { style?: { noRestrictedImports?: { options: { patterns: { group: string[] }[] } } } } };
    }[];
  };
  const rows = overrides.flatMap(({ includes, linter }) => {
    const rule = linter?.rules.style?.noRestrictedImports;
    return rule === undefined ? [] : [{ includes, refused: rule.options.patterns.flatMap(({ group }) => group) }];
  });
  t.strictSame(
    rows,
    NAMES.map((room) => ({ includes: includesOf(room), refused: refusedIn(room) })),
  );
});

t.test('docs/architecture.md has the same table', async (t) => {
  const code = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ');
  const label = (room: string) =>
    room === 'top' ? code(TOP_FILES) : room === 'ground' ? 'single files' : `\`${room}\``;
  const cell = (room: string) => {
    const rooms = ROOMS[room] ?? [];
    return rooms.length === 0 ? 'nothing' : rooms.map(label).join(', ');
  };
  const table = ['| room | imports |', '| --- | --- |', ...NAMES.map((room) => `| ${label(room)} | ${cell(room)} |`)];
  const page = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8');
  const from = page.indexOf('| room | imports |');
  t.equal(page.slice(from).split('\n\n')[0], table.join('\n'));
  for (const name of GROUND_FILES) t.match(page, `\`${name}.ts\``, `${name} is described`);
});
