// The package as it would be published: what is in it, that publint finds nothing, and that a program can embed the
// gateway with types.

import { type ExecFileSyncOptions, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { publint } from 'publint';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const bin = (name: string) => join(ROOT, 'node_modules', '.bin', name);

/** Runs a program without what the test runner puts into the environment of whatever a test starts. */
const run = (program: string, args: readonly string[], options: ExecFileSyncOptions = {}): string =>
  execFileSync('env', ['-i', `PATH=${process.env.PATH}`, `HOME=${folder}`, program, ...args], {
    encoding: 'utf8',
    ...options,
  }) as string;

/** A build of its own in a folder that looks like the repository to npm. */
const folder = mkdtempSync(join(tmpdir(), 'gcg-pack-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
for (const project of ['tsconfig.build.json', 'src/inspector/page/tsconfig.build.json'])
  run(bin('tsc'), ['-p', join(ROOT, project), '--outDir', join(folder, 'dist')]);
run(process.execPath, [join(ROOT, 'scripts', 'finish-build.ts'), join(folder, 'dist')]);
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  files: string[];
  bin: Record<string, string>;
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

const output = run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: folder,
  stdio: ['ignore', 'pipe', 'ignore'],
});
const [pack] = Object.values(JSON.parse(output) as object) as [{ files: { path: string }[]; unpackedSize: number }];
const paths = pack.files.map(({ path }) => path);

t.test('npm pack holds the built program, its declarations, pages and examples, and nothing else', async (t) => {
  const expected = new RegExp(
    `^(?:${[
      String.raw`dist/[\w/-]+\.(?:js|d\.ts)|dist/operations/operations\.tsv`,
      String.raw`dist/inspector/page/(?:page\.css|views\.css|shell\.html|vendor/lit-html\.LICENSE)`,
      String.raw`package\.json|LICENSE|(?:README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|config\.example\.ini`,
      String.raw`docs/[\w-]+\.(?:md|schema\.json)|docs/images/[\w-]+\.png`,
      String.raw`examples/[a-z-]+/[\w.-]+`,
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
    'LICENSE',
    'README.md',
    'config.example.ini',
  ])
    t.ok(paths.includes(path), path);
  t.ok(pack.unpackedSize < 4_500_000, `${pack.unpackedSize} bytes`);
  t.comment(`${paths.length} files, ${pack.unpackedSize} bytes unpacked`);
});

t.test('the built program finds the table of operations beside it', async (t) => {
  const code =
    `const { operationTable } = await import(${JSON.stringify(pathToFileURL(join(folder, 'dist/operations/table.js')))});` +
    `console.log(operationTable().find('GET', '/api/v2/users/me').id)`;
  t.equal(run(process.execPath, ['--input-type=module', '-e', code]).trim(), 'getUsersMe');
});

t.test('the live page of the built program is whole, and as small as it is to be', async (t) => {
  const code =
    `const { readPageFiles } = await import(${JSON.stringify(pathToFileURL(join(folder, 'dist/inspector/page-files.js')))});` +
    `const { shell, files } = readPageFiles();` +
    `const all = [['shell.html', shell], ...[...files].map(([name, { body }]) => [name, body.toString()])];` +
    `console.log(JSON.stringify(all))`;
  const files = JSON.parse(run(process.execPath, ['--input-type=module', '-e', code])) as [
    name: string,
    text: string,
  ][];
  const texts = new Map(files);
  t.equal(texts.get('lit-html.js'), withoutMap(readFileSync(join(ROOT, 'node_modules/lit-html/lit-html.js'), 'utf8')));
  t.notMatch([...texts.values()].join('\n'), /style=|https?:\/\/(?!www\.w3\.org)|innerHTML\s*=(?!=)[^;]*[^e]$/m);
  for (const [name, text] of files)
    for (const [, specifier = ''] of text.matchAll(/(?:^import\b[^'"]*|\bimport\()['"]\.\/([^'"]+)['"]/gm))
      t.ok(texts.has(specifier), `${name}: ${specifier}`);
  // What the list of calls needs; what is opened later comes later.
  const first = files.filter(([name]) => !LATER.has(name));
  const raw = first.reduce((sum, [, text]) => sum + Buffer.byteLength(text), 0);
  const packed = first.reduce((sum, [, text]) => sum + gzipSync(text, { level: 9 }).length, 0);
  t.ok(raw <= 130_000, `${raw} bytes`);
  t.ok(packed <= 45_000, `${packed} bytes, each file packed by itself`);
  t.ok(first.length <= 27, `${first.length} files`);
  t.comment(`${first.length} files, ${raw} bytes, ${packed} packed; ${files.length} files in all`);
});

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
    const app = join(folder, 'embedding');
    mkdirSync(join(app, 'node_modules'), { recursive: true });
    symlinkSync(folder, join(app, 'node_modules', 'genesys-cloud-gateway'));
    writeFileSync(join(app, 'package.json'), '{"type":"module"}');
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
  plugins: [(app) => app.get('/mine', async () => ({ hello: app.printRoutes().length > 0 }))],
});
const [url] = await gateway.listen();
const answer = await fetch(url + '/mine');
console.log(answer.status, await answer.text());
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
console.log(signals.filter((signal) => process.listenerCount(signal) > 0).length);
await gateway.drain();
await log.close();
`,
    );
    const options = [
      '--module',
      'nodenext',
      '--target',
      'es2023',
      '--strict',
      '--skipLibCheck',
      '--types',
      'node',
      '--typeRoots',
      join(ROOT, 'node_modules/@types'),
    ];
    run(bin('tsc'), ['--noEmit', ...options, join(app, 'app.ts')], {
      cwd: app,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    t.equal(run(process.execPath, [join(app, 'app.ts')], { cwd: app }), '200 {"hello":true}\n0\n');
  },
);

t.test('the command of the built package says its version', async (t) => {
  const main = join(folder, manifest.bin.gcg ?? '');
  t.match(readFileSync(main, 'utf8'), /^#!\/usr\/bin\/env node\n/);
  t.match(run(process.execPath, [main, '--version']), /^\d+\.\d+\.\d+\n$/);
});

t.test('the built package asks PAC scripts, in the thread that it starts from its own files', async (t) => {
  const pac = join(folder, 'proxy.pac');
  writeFileSync(pac, 'function FindProxyForURL() { return "PROXY a:1"; }');
  const at = (path: string) => JSON.stringify(pathToFileURL(join(folder, 'dist', path)).href);
  const script = `
    import { systemClock } from ${at('clock.js')};
    import { Egress } from ${at('upstream/egress/egress.js')};
    const url = ${JSON.stringify(`pac+${pathToFileURL(pac)}`)};
    const proxy = { url, username: null, password: null, credentialHosts: [], noProxy: [], off: false };
    const timeouts = { connectMs: 5000 };
    const egress = new Egress({ proxy, tls: {}, timeouts, env: {}, clock: systemClock, log: console });
    console.log((await egress.routes('http://a.test/')).join());`;
  t.equal(run(process.execPath, ['--input-type=module', '--eval', script]), 'http://a:1\n');
});
