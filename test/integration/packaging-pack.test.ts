// The package as it would be published, unpacked where nothing else is but what npm installs with it: what is in it,
// that publint finds nothing, that its commands work from it, and that a program can embed the gateway with types.

import { type ExecFileSyncOptions, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, join, posix } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { publint } from 'publint';
import t from 'tap';
import { isBuilt } from '../helpers/program.ts';
import { startRedis, withoutRedis } from '../helpers/redis-process.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const bin = (name: string) => join(ROOT, 'node_modules', '.bin', name);

/** Runs a program without what the test runner puts into the environment of whatever a test starts. */
const run = (program: string, args: readonly string[], options: ExecFileSyncOptions = {}): string =>
  execFileSync('env', ['-i', `PATH=${process.env.PATH}`, `HOME=${folder}`, program, ...args], {
    encoding: 'utf8',
    ...options,
  }) as string;

/** A folder that looks like the repository to npm, with what was built: a build of its own where that is of other sources. */
const folder = mkdtempSync(join(tmpdir(), 'gcg pack (%20) '));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
if (isBuilt()) cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true });
else {
  run(process.execPath, [join(ROOT, 'scripts', 'bundle.ts'), join(folder, 'dist')]);
  for (const project of ['tsconfig.build.json', 'src/inspector/page/tsconfig.build.json'])
    run(bin('tsc'), ['-p', join(ROOT, project), '--outDir', join(folder, 'dist')]);
  run(process.execPath, [join(ROOT, 'scripts', 'finish-build.ts'), join(folder, 'dist')]);
}
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
  files: string[];
  bin: Record<string, string>;
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
};
for (const name of [
  'package.json',
  'README.md',
  'LICENSE',
  'Dockerfile',
  'src',
  'test',
  'bench',
  ...manifest.files.filter((file) => file !== 'dist' && !file.startsWith('!')),
])
  cpSync(join(ROOT, name), join(folder, name), { recursive: true });
symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));

/** Files of the page that the list of calls does not need. */
const LATER = new Set([
  ...[
    'call-actions.js',
    'replay-dialog.js',
    'marked.js',
    'repeat.js',
    'compare.js',
    'compare-view.js',
    'body-shape.js',
  ],
  ...['copies.js', 'copy-as.js', 'copy-sdk.js'],
  'call-view.js',
  'timeline.js',
  'entry.js',
  'help.js',
  'more-menu.js',
  'export-har.js',
  'har-reader.js',
  ...['tokens', 'limits', 'routes', 'clients', 'gateway', 'file', 'insight'].map((name) => `${name}-view.js`),
  ...['charts.js', 'data-table.js', 'view-style.js', 'views.css'],
]);

/** As it is sent: without the name of its map, and no line begins with blanks. */
function withoutMap(text: string): string {
  return text.replace(/^\/\/# sourceMappingURL=.*$/m, '').replace(/^[ \t]+/gm, '');
}

const output = run('npm', ['pack', '--json', '--ignore-scripts'], { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] });
interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
  readonly size: number;
  readonly unpackedSize: number;
}
const [pack] = Object.values(JSON.parse(output) as object) as [Packed];
const paths = pack.files.map(({ path }) => path);

/** A program of somebody else's, with the package and what is installed with it. */
const app = join(folder, 'app');
const installed = join(app, 'node_modules', 'genesys-cloud-gateway');
mkdirSync(installed, { recursive: true });
run('tar', ['-xzf', join(folder, pack.filename), '-C', installed, '--strip-components=1']);
for (const name of Object.keys(manifest.dependencies))
  cpSync(join(ROOT, 'node_modules', name), join(app, 'node_modules', name), { recursive: true });
writeFileSync(join(app, 'package.json'), '{"type":"module"}');
const main = join(installed, manifest.bin.gcg ?? '');

t.test('npm pack holds the built program, its declarations, pages and examples, and nothing else', async (t) => {
  const expected = new RegExp(
    `^(?:${[
      String.raw`dist/[\w/-]+\.(?:js(?:\.map)?|d\.ts)|dist/(?:serving|later/[\w-]+)\.cjs(?:\.map)?`,
      String.raw`dist/pages/help(?:-[a-z]+)?\.txt`,
      String.raw`dist/(?:operations/operations\.tsv|THIRD-PARTY-LICENSES|bundled-packages\.json|sbom\.cdx\.json|xdg-open)`,
      String.raw`dist/inspector/page/(?:page\.css|views\.css|shell\.html|vendor/lit-html\.LICENSE)`,
      String.raw`package\.json|LICENSE|(?:README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|config\.example\.ini`,
      String.raw`docs/[\w-]+\.(?:md|schema\.json)|docs/images/[\w-]+\.png`,
      String.raw`examples/(?:[a-z-]+/){0,2}[\w.-]+`,
    ].join('|')})$`,
  );
  t.same(
    paths.filter((path) => !expected.test(path)),
    [],
  );
  for (const path of [
    'dist/main.js',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/operations/operations.tsv',
    'dist/THIRD-PARTY-LICENSES',
    'dist/sbom.cdx.json',
    'LICENSE',
    'README.md',
    'config.example.ini',
  ])
    t.ok(paths.includes(path), path);
  t.ok(pack.size < 2_600_000, `${pack.size} bytes`);
  t.ok(pack.unpackedSize < 9_500_000, `${pack.unpackedSize} bytes`);
  t.comment(`${paths.length} files, ${pack.size} bytes, ${pack.unpackedSize} unpacked`);
});

t.test('it imports nothing but what npm installs with it', async (t) => {
  const bare = new Set<string>();
  for (const file of globSync('dist/{*,later/*,upstream/egress/pac-thread}.{js,cjs}', { cwd: installed }))
    for (const [, name = ''] of readFileSync(join(installed, file), 'utf8').matchAll(
      /(?:\bfrom|\bimport\(|\bimport) ?"((?:@[\w-]+\/)?[a-z][\w-]*(?:\/[\w./-]+)?)"/g,
    ))
      bare.add(name);
  // One is native, for digests of Redis, and asked for by a package that does without.
  t.strictSame([...bare].sort(), ['@node-rs/xxhash', 'quickjs-wasi'], 'as found in the files');
  t.strictSame(Object.keys(manifest.dependencies), ['quickjs-wasi'], 'as declared');
});

t.test('each of its modules is reached from the command or from the index', async (t) => {
  const files = globSync('dist/*.{js,cjs}', { cwd: installed }).map((file) => basename(file));
  const reached = new Set(['main.js', 'index.js']);
  for (const file of reached) {
    const code = readFileSync(join(installed, 'dist', file), 'utf8');
    for (const other of files) if (/["']\.\//.test(code) && code.includes(`./${other}`)) reached.add(other);
  }
  t.strictSame([...reached].sort(), files.sort());
});

t.test('it says whose code it holds, and under which terms', async (t) => {
  const page = readFileSync(join(installed, 'dist/THIRD-PARTY-LICENSES'), 'utf8');
  const packages = JSON.parse(readFileSync(join(installed, 'dist/bundled-packages.json'), 'utf8')) as {
    name: string;
    version: string;
    licence: string;
  }[];
  const { packages: locked } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string }>;
  };
  t.ok(packages.length > 60, `${packages.length} packages`);
  for (const { name, version, licence } of packages) {
    t.ok(page.includes(`\n${name} ${version} (${licence})\n`), `${name} ${version} is on the page`);
    t.ok(
      Object.entries(locked).some(([path, one]) => path.endsWith(`node_modules/${name}`) && one.version === version),
      `${name} ${version} is locked`,
    );
  }
  for (const name of ['fastify', 'undici', 'pino', 'ajv', 'ws', 'socks', 'pac-resolver', 'abstract-logging'])
    t.ok(
      packages.some((one) => one.name === name),
      `${name} is found`,
    );
  t.notOk(page.includes(ROOT) || page.includes(tmpdir()), 'no folder of the build');
});

t.test('the demo runs from it: calls are known by name, and the live page is whole and small', async (t) => {
  const demo = spawn(process.execPath, [main, 'demo', '--listen', '127.0.0.1:0', '--log-format', 'json'], {
    cwd: app,
    env: { PATH: process.env.PATH, HOME: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve) => demo.once('exit', resolve));
  t.teardown(() => demo.kill('SIGKILL'));
  const records: Record<string, unknown>[] = [];
  let base = '';
  for await (const line of createInterface(demo.stdout)) {
    if (!line.startsWith('{')) continue;
    records.push(JSON.parse(line));
    const { msg, addresses } = records.at(-1) as { msg: string; addresses?: string[] };
    base = addresses?.[0] ?? base;
    if (msg === 'ready') break;
  }
  const fetchText = async (path: string): Promise<string> =>
    text(await new Promise<NodeJS.ReadableStream>((resolve, reject) => get(base + path, resolve).on('error', reject)));
  demo.stdout.on('data', (chunk) => void records.push(...parseLines(String(chunk))));
  demo.stdout.resume();
  t.match(JSON.parse(await fetchText('/api/v2/users?pageSize=1')), { entities: [{}] });
  t.match(await fetchText('/metrics'), /^gcg_requests_total\{.*^process_cpu_/ms);

  const shell = await fetchText('/-/ui/');
  const version = /modulepreload" href="([^/"]+)\//.exec(shell)?.[1] ?? '';
  const texts = new Map([['shell.html', shell]]);
  const waiting = [...shell.matchAll(/"[^"/]+\/([\w-]+\.(?:js|css))"/g)].map(([, name = '']) => name);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (texts.has(name)) continue;
    const body = await fetchText(`/-/ui/${version}/${name}`);
    t.notMatch(body, /"code":"gateway\./, name);
    texts.set(name, body);
    for (const [, specifier = ''] of body.matchAll(
      /(?:^import\b[^'"]*|^export\b[^'"]*from |\bimport\()['"]\.\/([^'"]+)['"]/gm,
    ))
      waiting.push(specifier);
  }
  texts.set('views.css', await fetchText(`/-/ui/${version}/views.css`));
  t.equal(texts.get('lit-html.js'), withoutMap(readFileSync(join(ROOT, 'node_modules/lit-html/lit-html.js'), 'utf8')));
  t.notMatch([...texts.values()].join('\n'), /style=|https?:\/\/(?!www\.w3\.org)|innerHTML\s*=(?!=)[^;]*[^e]$/m);
  // What the list of calls needs; what is opened later comes later.
  const first = [...texts].filter(([name]) => !LATER.has(name));
  const raw = first.reduce((sum, [, body]) => sum + Buffer.byteLength(body), 0);
  const packed = first.reduce((sum, [, body]) => sum + gzipSync(body, { level: 9 }).length, 0);
  t.ok(raw <= 130_000, `${raw} bytes`);
  t.ok(packed <= 45_000, `${packed} bytes, each file packed by itself`);
  t.ok(first.length <= 27, `${first.length} files`);
  t.comment(`${first.length} files, ${raw} bytes, ${packed} packed; ${texts.size} files in all`);

  demo.kill('SIGTERM');
  t.equal(await ended, 0);
  t.match(
    records.find(({ path }) => String(path).startsWith('/api/v2/users')),
    { operation: 'getUsers' },
  );
});

t.test(
  'compiled code is kept after the first call, taken by the next start, and made anew where it is damaged',
  async (t) => {
    const cache = join(folder, 'of-the-demo');
    mkdirSync(cache, { mode: 0o700 });
    const kept = () => globSync('compiled/*.code', { cwd: cache });
    const path = () => join(cache, kept()[0] ?? 'none');
    const steps: readonly (readonly [what: string, isMade: boolean, prepare: () => void])[] = [
      ['the first', true, () => {}],
      ['the second', false, () => {}],
      ['one that finds half of it', true, () => truncateSync(path(), 100_000)],
      ['one that finds nothing in it', true, () => truncateSync(path(), 0)],
    ];
    for (const [what, isMade, prepare] of steps) {
      prepare();
      const before = existsSync(path()) ? statSync(path(), { bigint: true }).mtimeNs : 0n;
      const flags = ['--listen', '127.0.0.1:0', '--log-format', 'json'];
      const line = what === 'the first' ? [...flags, 'demo'] : ['demo', ...flags];
      const demo = spawn(process.execPath, [main, ...line], {
        env: { PATH: process.env.PATH, CACHE_DIRECTORY: cache },
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const ended = once(demo, 'exit');
      for await (const line of createInterface(demo.stdout)) {
        const { msg = '', addresses = [] } = line.startsWith('{') ? JSON.parse(line) : {};
        if (msg !== 'listening') continue;
        t.equal((await fetch(`${addresses[0]}/api/v2/users`)).status, 200, what);
        demo.kill('SIGTERM');
      }
      t.same(await ended, [0, null]);
      t.equal(kept().length, 1, what);
      const { mtimeNs, mode, size } = statSync(path(), { bigint: true });
      t.equal(mode & 0o777n, 0o600n);
      t.ok(size > 1_000_000n, `${size} bytes`);
      t.equal(mtimeNs > before, isMade, `${what}: made ${isMade}`);
    }
  },
);

function parseLines(chunk: string): Record<string, unknown>[] {
  return chunk.split('\n').flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line)] : []));
}

t.test('what the packed pages point at is packed too', async (t) => {
  const pages = paths.filter((path) => path.endsWith('.md'));
  t.ok(pages.includes('docs/notifications.md'));
  let count = 0;
  for (const page of pages) {
    const text = readFileSync(join(folder, page), 'utf8').replace(/^ *```[\s\S]*?^ *```/gm, '');
    for (const [, link = ''] of text.matchAll(/\]\(([^)\s#]+)/g)) {
      // Pictures stay in the repository: they are as large as the program, and their texts say what they show.
      if (/^[a-z]+:/.test(link) || /(?:^|\/)images\//.test(link)) continue;
      count += 1;
      const target = posix.join(dirname(page), link);
      t.ok(
        paths.some((path) => path === target || path.startsWith(`${target}/`)),
        `${page}: ${link}`,
      );
    }
  }
  t.ok(count > 30);
});

t.test('publint finds nothing', async (t) => {
  const { messages } = await publint({ pkgDir: folder, level: 'suggestion' });
  t.same(messages, []);
});

t.test(
  'a program embeds the gateway: it type-checks, runs, and adds a route of its own and no signal handler',
  async (t) => {
    // The packages whose types it names: optional peers, for those who check types.
    mkdirSync(join(app, 'node_modules/@types'), { recursive: true });
    for (const name of Object.keys(manifest.peerDependencies))
      symlinkSync(join(ROOT, 'node_modules', name), join(app, 'node_modules', name));
    writeFileSync(
      join(app, 'app.ts'),
      `import { createGateway, createLogger, formatProblem, loadConfig } from 'genesys-cloud-gateway';
const env = { GCG_CREDENTIAL_CLIENT_ID: 'x', GCG_CREDENTIAL_CLIENT_SECRET: 'y', GCG_SERVER_LISTEN: '127.0.0.1:0',
  GCG_LOGGING_LOG_LEVEL: 'none', GCG_PROXY_OFF: 'true',
  GCG_GATEWAY_HOST: '127.0.0.1', GCG_GATEWAY_PORT: '1', GCG_GATEWAY_PROTOCOL: 'http' };
const result = loadConfig({ env, cwd: process.cwd(), home: undefined, platform: process.platform });
if (!result.ok) throw new Error(result.problems.map(formatProblem).join('; '));
const log = createLogger(result.config.logging);
const gateway = await createGateway(result.config, {
  log,
  plugins: [
    (app) => app.get('/mine', async () => ({ hello: app.printRoutes().length > 0 })),
    (app) => app.get('/checked', { schema: { querystring: {
      type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] },
      response: { 200: { type: 'object', properties: { n: { type: 'integer' } } } } },
    }, async (request) => ({ ...(request.query as object), more: 1 })),
  ],
});
const [url] = await gateway.listen();
const answer = await fetch(url + '/mine');
console.log(answer.status, await answer.text());
for (const query of ['n=7', 'n=x']) {
  const checked = await fetch(url + '/checked?' + query);
  console.log(checked.status, checked.status === 200 ? await checked.text() : '');
}
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
console.log(signals.filter((signal) => process.listenerCount(signal) > 0).length);
await gateway.drain();
await log.close();
`,
    );
    const options = ['--module', 'nodenext', '--target', 'es2023', '--strict', '--types', 'node'];
    run(bin('tsc'), ['--noEmit', ...options, join(app, 'app.ts')], {
      cwd: app,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    t.equal(run(process.execPath, [join(app, 'app.ts')], { cwd: app }), '200 {"hello":true}\n200 {"n":7}\n400 \n0\n');
  },
);

t.test('the command of the built package says its version', async (t) => {
  t.match(readFileSync(main, 'utf8'), /^#!\/usr\/bin\/env node\n/);
  t.equal(run(process.execPath, [main, '--version']), `${manifest.version}\n`);
});

/** What a command runs from its start until it ends: sources of ours, packages, and whether Node's own fetch is. */
function loadedBy(...args: readonly string[]): {
  files: string[];
  sources: string[];
  packages: string[];
  node: string;
} {
  const preload = join(folder, 'preload.cjs');
  const list = "process.on('exit', () => require('node:fs').writeSync(2, process.moduleLoadList.join('\\n')));";
  writeFileSync(preload, list);
  const coverage = mkdtempSync(join(folder, 'coverage-'));
  const env = [
    `NODE_OPTIONS=--require=${JSON.stringify(preload)}`,
    `NODE_V8_COVERAGE=${coverage}`,
    'GCG_CREDENTIAL_CLIENT_ID=x',
    'GCG_CREDENTIAL_CLIENT_SECRET=y',
  ];
  const node = run('sh', ['-c', 'env "$@" 2>&1 >/dev/null || true', 'sh', ...env, process.execPath, main, ...args]);
  const scripts = readdirSync(coverage)
    .flatMap((name) => (JSON.parse(readFileSync(join(coverage, name), 'utf8')) as { result: Covered[] }).result)
    .filter(({ url }) => url.startsWith(pathToFileURL(installed).href));
  const sources = scripts.flatMap(sourcesOf);
  const packages = sources.flatMap((source) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? []);
  return { files: scripts.map(({ url }) => fileURLToPath(url)), sources, packages: [...new Set(packages)], node };
}

/** A script as V8 tells of it. */
interface Covered {
  readonly url: string;
  readonly functions: readonly {
    readonly functionName: string;
    readonly ranges: readonly { readonly count: number }[];
  }[];
}

/** The sources of a script that have run: one that is loaded later is a function, called by the path of its source. */
function sourcesOf({ url, functions }: Covered): string[] {
  const isRun = new Map(functions.map(({ functionName, ranges }) => [functionName, (ranges[0]?.count ?? 0) > 0]));
  const { sources } = JSON.parse(readFileSync(`${fileURLToPath(url)}.map`, 'utf8')) as { sources: string[] };
  return sources
    .map((source) => source.replace(/^.*?((?:src|node_modules)\/)/, '$1'))
    .filter((source) => isRun.get(source) ?? true);
}

t.test('help and the version are one file, a probe is two, and neither loads HTTP, TLS, crypto or fetch', async (t) => {
  for (const [args, most] of [
    [['--help'], 1],
    [['serve', '--help'], 1],
    [['--version'], 1],
    [['healthcheck'], 2],
    [['healthcheck', '--listen', '127.0.0.1:1'], 2],
    [['wait', '--listen', '127.0.0.1:1', '--timeout', '1ms'], 2],
  ] as const) {
    const { files, packages, node } = loadedBy(...args);
    t.ok(files.length > 0 && files.length <= most, `${args.join(' ')}: ${files}`);
    t.strictSame(packages, [], args.join(' '));
    t.notMatch(node, /NativeModule (?:tls|https?|crypto|internal\/deps\/undici\/undici)$/m, args.join(' '));
  }
});

t.test('a start loads neither what is rare nor other commands', async (t) => {
  const config = join(folder, 'start.ini');
  // It ends by itself: the address is none of this machine.
  const settings = ['[credential]', 'client_id = x', 'client_secret = y', '[server]', 'listen = 192.0.2.1:18080'];
  writeFileSync(config, [...settings, 'unsafe_allow_anonymous = true', ''].join('\n'), { mode: 0o600 });
  const { files, sources, packages, node } = loadedBy('serve', '--config', config);
  t.match(node, /192\.0\.2\.1:18080 is not an address of this machine/);
  for (const source of ['src/cli/commands/serve.ts', 'src/server/forward.ts', 'src/upstream/egress/egress.ts'])
    t.ok(sources.includes(source), `${source} is`);
  for (const name of ['fastify', 'undici', 'pino']) t.ok(packages.includes(name), `${name} is`);
  const rare = [
    'ws',
    'ajv',
    '@fastify/ajv-compiler',
    'light-my-request',
    'proxy-agent',
    'socks',
    'pac-resolver',
    'open',
  ];
  for (const name of [...rare, '@prometheus-io/client', '@redis/client', 'quickjs-wasi'])
    t.notOk(packages.includes(name), `${name} is not`);
  t.strictSame(
    sources.filter((source) =>
      /src\/(?:cli\/commands\/(?!serve)|sandbox\/(?!demo-faults|switches)|.*\/pac-thread)/.test(source),
    ),
    [],
  );
  t.strictSame(
    sources.filter((source) =>
      /undici\/lib\/(?:web\/(?!.*(?:constants|infra|util))|cache|mock|interceptor)/.test(source),
    ),
    [],
  );
  t.notMatch(node, /NativeModule internal\/deps\/undici\/undici$/m);
  t.ok(files.length < 4, `${files}`);
});

t.test('a stack names the sources', async (t) => {
  const script = `process.argv[2] = '--no-such'; const { default: fs } = await import('node:fs');
    const url = ${JSON.stringify(pathToFileURL(join(installed, 'dist/index.js')).href)};
    const { createLogger } = await import(url);
    try { createLogger({ toConsole: true, filePath: '/dev/null/no', level: 'info' }); } catch (error) { console.log(error.stack); }`;
  const stack = run(process.execPath, ['--enable-source-maps', '--input-type=module', '--eval', script]);
  t.match(stack, /src\/logging\/destination\.ts:\d+:\d+/, 'by the maps that are packed');
  const fault = join(folder, 'fault.cjs');
  writeFileSync(fault, "require('node:net').Server.prototype.listen = () => { throw new Error('planted'); };");
  for (const off of ['', '1']) {
    const env = ['GCG_DEBUG=1', `NODE_OPTIONS=--require=${JSON.stringify(fault)}`, `NODE_DISABLE_COMPILE_CACHE=${off}`];
    const told = run('sh', ['-c', 'env "$@" 2>&1 || true', 'sh', ...env, process.execPath, main, 'demo']);
    t.match(told, /planted\n[\s\S]* at \S*src\/sandbox\/sandbox\.ts:\d+:\d+\n/, `compiled code is kept: ${off === ''}`);
    t.notMatch(told, /serving\.cjs/);
  }
});

t.test('an installation that is not whole says which file is missing', async (t) => {
  const [status = ''] = globSync('dist/status-*.js', { cwd: installed });
  const env = ['GCG_CREDENTIAL_CLIENT_ID=x', 'GCG_CREDENTIAL_CLIENT_SECRET=y', 'GCG_SERVER_LISTEN=127.0.0.1:0'];
  for (const [file, command] of [
    ['dist/operations/operations.tsv', 'serve'],
    [status, 'status'],
  ] as const) {
    const away = join(folder, 'away');
    renameSync(join(installed, file), away);
    const told = run('sh', ['-c', 'env "$@" 2>&1; echo "code $?"', 'sh', ...env, process.execPath, main, command]);
    renameSync(away, join(installed, file));
    const words = `gcg: this installation is not whole: its file ${file.slice('dist/'.length)} cannot be read`;
    t.equal(told.slice(told.indexOf('gcg: ')), `${words}: install it again\ncode 1\n`, command);
  }
});

t.test('it connects to Redis, and tells a refusal from a lost connection', { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t, { password: 'secret-of-the-test' });
  const check = (password: string): string => {
    const settings = [
      'store.type=redis',
      `store.url=${redis.url}`,
      'gateway.host=127.0.0.1:9',
      'gateway.protocol=http',
    ];
    return run(
      'env',
      [
        `GCG_STORE_PASSWORD=${password}`,
        `GCG_STORE_ENCRYPTION_KEY=${'0123456789abcdef'.repeat(4)}`,
        ...['GCG_CREDENTIAL_CLIENT_ID=a', 'GCG_CREDENTIAL_CLIENT_SECRET=b'],
        ...['sh', '-c', '"$@" 2>&1 || true', 'sh', process.execPath, main, 'check', '--online'],
        ...settings.flatMap((setting) => ['--set', setting]),
      ],
      { cwd: app },
    );
  };
  t.match(check('secret-of-the-test'), /ok {6}store rights: all \d+ scripts/);
  t.match(check('not-that-one'), /FAILED {2}store: .*\(WRONGPASS\)/);
});

t.test('it asks PAC scripts, in the thread that it starts from its own files', async (t) => {
  const pac = join(folder, 'proxy.pac');
  writeFileSync(pac, 'function FindProxyForURL() { return "PROXY 127.0.0.1:9"; }');
  const ask = [main, 'doctor', '--set', `proxy.url=pac+${pathToFileURL(pac)}`];
  const told = run('sh', ['-c', '"$@" 2>&1 || true', 'sh', process.execPath, ...ask]);
  t.match(told, /127\.0\.0\.1:9/);
});
