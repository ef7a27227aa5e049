// Tries a packed tarball as somebody would who has nothing else: installs it into an empty folder with the Node and the
// npm that run this, and goes through demo, init, check, serve and status. Prints what it costs. No test framework, no
// dependency: it runs on each system and each line of Node that a release is for.
//   node scripts/try-package.ts packed      (a folder with one tarball in it, or the tarball)

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const isWindows = process.platform === 'win32';
const [from = 'packed'] = process.argv.slice(2);
if (from.startsWith('-')) {
  console.error('usage: node scripts/try-package.ts [FOLDER | TARBALL]');
  process.exit(2);
}
const tarball = tarballAt(resolve(from));
const folder = mkdtempSync(join(tmpdir(), 'gcg-try-'));
// An environment without settings of ours, and without those of the npm that may run this.
const kept = ['PATH', 'Path', 'SystemRoot', 'COMSPEC', 'TEMP', 'TMP', 'PATHEXT', 'NODE_EXTRA_CA_CERTS'];
const home = join(folder, 'home');
const env: NodeJS.ProcessEnv = Object.fromEntries(kept.map((name) => [name, process.env[name]]));
Object.assign(env, { HOME: home, USERPROFILE: home, APPDATA: home, LOCALAPPDATA: home });
// The Node that runs this comes first, and the registry is the one that is set up here.
env.PATH = `${dirname(process.execPath)}${isWindows ? ';' : ':'}${process.env.PATH ?? process.env.Path}`;
env.npm_config_userconfig =
  process.env.npm_config_userconfig ?? join(process.env.HOME ?? process.env.USERPROFILE ?? '', '.npmrc');
env.npm_config_cache = process.env.npm_config_cache ?? join(folder, 'cache');
mkdirSync(home);
const app = join(folder, 'app');
mkdirSync(app);
writeFileSync(join(app, 'package.json'), '{"private": true}\n');

const running = new Set<ChildProcess>();
try {
  await session();
} finally {
  for (const child of running) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

async function session(): Promise<void> {
  const started = performance.now();
  const installed = npm('install', '--no-audit', '--no-fund', tarball);
  const tookMs = Math.round(performance.now() - started);
  assert(!/install scripts|allow-?scripts/i.test(installed), `npm is silent about scripts: ${installed}`);
  const own = join(app, 'node_modules', 'genesys-cloud-gateway');
  const { version, scripts } = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as {
    version: string;
    scripts: Record<string, string>;
  };
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
    assert(!(name in scripts), `no script ${name}`);
  const { bytes, files } = sizeOf(join(app, 'node_modules'));
  const packages = npm('ls', '--all', '--parseable').trim().split('\n').length - 1;
  const size = statSync(tarball).size;
  say(
    `${process.platform} ${process.version}: tarball ${size} bytes; installed in ${tookMs} ms: ${packages} packages, ${files} files, ${bytes} bytes`,
  );

  const main = join(own, 'dist', 'main.js');
  equal(npm('exec', '--no', '--', 'genesys-cloud-gateway', '--version').trim(), version, 'npx genesys-cloud-gateway');
  equal(npm('exec', '--no', '--', 'gcg', '--version').trim(), version, 'gcg');
  assert(run(main, ['--help']).stdout.includes('Usage: gcg'), '--help');

  const demo = await start(main, ['demo', '--listen', '127.0.0.1:0'], /http:\/\/127\.0\.0\.1:\d+(?=\/api\/v2)/);
  const users = await fetch(`${demo.found}/api/v2/users?pageSize=2`);
  equal(users.status, 200, 'a call to the demo');
  equal(((await users.json()) as { entities: unknown[] }).entities.length, 2, 'and its answer');
  const page = run(main, ['status', '--listen', new URL(demo.found).host]);
  equal(page.status, 0, `status of the demo: ${page.stdout}${page.stderr}`);
  say(`demo answers at ${demo.found}; ${page.stdout.split('\n')[0]}`);

  const secret = { GENESYSCLOUD_OAUTHCLIENT_SECRET: 'a-secret-of-this-session' };
  const init = run(main, ['init', '--host', 'eu-central-1', '--client-id', 'an-id'], secret);
  equal(init.status, 0, `init: ${init.stdout}${init.stderr}`);
  const check = run(main, ['check'], secret);
  equal(check.status, 0, `check: ${check.stdout}${check.stderr}`);
  say(`init and check: ${check.stdout.trim().split('\n').at(-1)}`);

  // Nothing leaves this machine: the region's place is taken by a port where nobody is.
  const to = ['--set', 'gateway.host=127.0.0.1', '--set', 'gateway.port=9', '--set', 'gateway.protocol=http'];
  const serve = await start(main, ['serve', '--listen', '127.0.0.1:0', ...to], /http:\/\/127\.0\.0\.1:\d+/, secret);
  equal((await fetch(`${serve.found}/livez`)).status, 200, 'livez');
  equal((await fetch(`${serve.found}/readyz`)).status, 503, 'readyz without a region');
  const status = run(main, ['status', '--listen', new URL(serve.found).host], secret);
  assert(status.stdout.includes('default'), `status: ${status.stdout}${status.stderr}`);
  say(`serve and status (${status.status}): ${status.stdout.split('\n')[0]}`);
  for (const { child } of [demo, serve]) await end(child);
  say('ended');
}

function tarballAt(path: string): string {
  if (path.endsWith('.tgz')) return path;
  const [name, ...others] = readdirSync(path).filter((file) => file.endsWith('.tgz'));
  assert(name !== undefined && others.length === 0, `one tarball in ${path}`);
  return join(path, name as string);
}

function npm(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: app, env, encoding: 'utf8', shell: isWindows });
  if (status !== 0) throw new Error(`npm ${args.join(' ')} ended with ${status}: ${stdout}${stderr}`);
  return args[0] === 'install' ? `${stdout}${stderr}` : stdout;
}

function run(main: string, args: readonly string[], more: NodeJS.ProcessEnv = {}) {
  return spawnSync(process.execPath, [main, ...args], { cwd: app, env: { ...env, ...more }, encoding: 'utf8' });
}

/** Resolves once the command has printed what is looked for. */
async function start(main: string, args: readonly string[], pattern: RegExp, more: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [main, ...args], { cwd: app, env: { ...env, ...more } });
  running.add(child);
  let told = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (told += text));
  const deadline = setTimeout(() => child.kill('SIGKILL'), 30_000);
  for await (const line of createInterface({ input: child.stdout })) {
    told += `${line}\n`;
    const found = pattern.exec(line)?.[0];
    if (found === undefined) continue;
    clearTimeout(deadline);
    child.stdout.resume();
    return { child, found };
  }
  throw new Error(`${args[0]} said nothing of an address: ${told}`);
}

/** By a signal; Windows has none, and ends it at once. */
async function end(child: ChildProcess): Promise<void> {
  const closed = once(child, 'exit');
  child.kill('SIGTERM');
  const [code] = (await closed) as [number | null];
  running.delete(child);
  if (!isWindows) equal(code, 0, 'SIGTERM ends it');
}

function sizeOf(root: string): { bytes: number; files: number } {
  const all = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return {
    bytes: all.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0),
    files: all.length,
  };
}

function equal(value: unknown, expected: unknown, what: string): void {
  assert(value === expected, `${what}: ${value}, and not ${expected}`);
}

function assert(isTrue: boolean, what: string): void {
  if (!isTrue) throw new Error(`not so: ${what}`);
}

function say(words: string): void {
  console.log(words);
}
