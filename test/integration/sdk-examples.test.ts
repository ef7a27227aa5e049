// The recipes of docs/sdk-recipes.md: each example is run as a program of its own, as it is shipped, by the versions of
// its client that the page names; before a gateway that anybody on the machine may use, and before one with clients.

import { type ChildProcessWithoutNullStreams, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { createUsers } from '../../src/sandbox/directory.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { allCredentials, clientNamed } from '../helpers/clients.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { MAIN } from '../helpers/program.ts';
import { example, packageOf, recipePackage, withoutRecipes } from '../helpers/recipes.ts';

const SOMEBODY = createUsers(1)[0] as { email: string; name: string };
const FIVE_USERS = /^60 users, the first: Ada Lindqvist, (?:[^,]+, ){3}[^,]+\n$/;

const sandbox = createSandbox({ switches: { login: { approve: SOMEBODY.email } } });
const { origin } = await sandbox.listen();
t.teardown(() => sandbox.close());
const credentials = allCredentials(origin);
const clients = [clientNamed('crm'), clientNamed('portal', { credentials: ['web'] })];

/** A gateway, and how a caller of it shows who it is. */
interface Served extends Awaited<ReturnType<typeof startGatewayWith>> {
  readonly name: string;
  readonly client: string;
  readonly secret: string;
}

const GATEWAYS: readonly [Served, Served] = [
  { name: 'anonymous', ...(await startGatewayWith(t, configAt(origin, { credentials }))), client: '', secret: '' },
  {
    name: 'with clients',
    ...(await startGatewayWith(t, configAt(origin, { credentials, clients }))),
    client: 'crm',
    secret: 'crm-secret',
  },
];
for (const { gateway } of GATEWAYS) await gateway.runtime().credentials.default()?.source.token();
const [anonymous, proved] = GATEWAYS;

/** Starts an example with its settings in the environment, and a proxy there that would fail every call it caught. */
function begin(command: string, args: string[], env: Record<string, string>, cwd?: string) {
  const child = spawn(command, args, {
    cwd,
    env: {
      ...childEnvironment,
      HOME: '/nonexistent',
      HTTP_PROXY: 'http://127.0.0.1:9',
      http_proxy: 'http://127.0.0.1:9',
      ...env,
    },
  });
  t.teardown(() => child.kill());
  return child;
}

async function outputOf(child: ChildProcessWithoutNullStreams) {
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (chunk) => {
      said[stream] += chunk;
    });
  const [code] = (await once(child, 'close')) as [number];
  return { code, ...said };
}

const withoutCurl =
  process.env.CI !== 'true' && spawnSync('curl', ['--version']).error !== undefined && 'there is no curl here';
const RUNNERS = { newman: '6.2.2', httpyac: '6.16.7' };
const DIRECT = { NO_PROXY: '127.0.0.1,localhost', no_proxy: '127.0.0.1,localhost' };

/** What an example is told of the gateway. Where there are no clients its defaults are to do. */
const settingsOf = ({ url, port, client, secret }: Omit<Served, 'name'>) => ({
  GATEWAY: url,
  GATEWAY_HOST: '127.0.0.1',
  GATEWAY_PORT: String(port),
  ...(client !== '' && { GATEWAY_CLIENT: client, GATEWAY_SECRET: secret }),
});

/** An example where an SDK is installed, in the version of a package of the recipes, or in ours. */
function installed(t: Test, file: string, sdk: string): string {
  const folder = t.testdir({
    [file]: readFileSync(example(`javascript/${file}`), 'utf8'),
    node_modules: { 'purecloud-platform-client-v2': t.fixture('symlink', packageOf(sdk)) },
  });
  return `${folder}/${file}`;
}

const NEWEST = 'purecloud-platform-client-v2';
const SDKS = [
  { sdk: 'sdk-140', version: '140.0.0', file: 'before-207.cjs' },
  { sdk: 'sdk-204', version: '204.1.0', file: 'before-207.cjs' },
  { sdk: 'sdk-207', version: '207.0.0', file: 'client-credentials.mjs' },
  { sdk: 'sdk-231', version: '231.0.0', file: 'client-credentials.mjs' },
  { sdk: NEWEST, version: '262.0.0', file: 'client-credentials.mjs' },
  { sdk: NEWEST, version: '262.0.0', file: 'before-207.cjs' },
];
for (const { sdk, version, file } of SDKS) {
  t.test(`JavaScript ${version}: ${file}`, { skip: sdk !== NEWEST && withoutRecipes }, async (t) => {
    t.equal(recipePackage(sdk).version, version);
    const path = installed(t, file, sdk);
    await Promise.all(
      GATEWAYS.map(async (served) => {
        const child = begin(process.execPath, [path], { ...settingsOf(served), ...DIRECT });
        const { code, stdout, stderr } = await outputOf(child);
        t.equal(code, 0, `${served.name}: ${stderr}`);
        t.match(stdout, FIVE_USERS, served.name);
      }),
    );
  });
}

t.test('JavaScript: a wrong secret, and a proxy in the environment that catches the calls', async (t) => {
  const wrong = { ...settingsOf({ ...proved, secret: 'not-the-secret' }), ...DIRECT };
  const [refused, old, caught] = await Promise.all([
    outputOf(begin(process.execPath, [example('javascript/client-credentials.mjs')], wrong)),
    outputOf(begin(process.execPath, [example('javascript/before-207.cjs')], wrong)),
    outputOf(begin(process.execPath, [example('javascript/client-credentials.mjs')], settingsOf(anonymous))),
  ]);
  t.not(refused.code, 0);
  t.match(refused.stderr, /invalid_client/);
  t.not(old.code, 0);
  t.match(old.stderr, /not the secret of a client/);
  t.not(caught.code, 0, 'without NO_PROXY the proxy of the environment catches the calls');
  t.match(caught.stderr, /127\.0\.0\.1:9/);
});

t.test('examples/javascript/web-login.mjs', async (t) => {
  const env = { ...settingsOf({ ...proved, client: 'portal', secret: 'portal-secret' }), ...DIRECT, PORT: '0' };
  const child = begin(process.execPath, [example('javascript/web-login.mjs')], env);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const app = /http:\/\/localhost:\d+\//.exec(line.toString())?.[0] ?? '';
  const follow = async (url: string) => (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? '';
  const toGateway = await follow(app);
  t.ok(toGateway.startsWith(`${proved.url}/oauth/authorize?client_id=portal&`));
  t.equal(await (await fetch(await follow(await follow(toGateway)))).text(), `Hello ${SOMEBODY.name}\n`);
  t.match(sandbox.stats.tokenRequests.authorization_code, { ok: 1 });
  child.kill();
});

/** Runs a collection once for each list of variables, as the command does, and prints what was asked and what failed. */
const NEWMAN = `
const [newman, collection, environment, runs] = process.argv.slice(1);
const run = (envVar) => new Promise((resolve, reject) => {
  const done = (error, { run: { stats, failures } }) => error ? reject(error) : resolve({
    requests: stats.requests, assertions: stats.assertions, failures: failures.map(({ error }) => error.message) });
  require(newman).run({ collection, environment, envVar }, done);
});
Promise.all(JSON.parse(runs).map(run)).then((all) => process.stdout.write(JSON.stringify(all)));`;

t.test('examples/postman: all requests, with their assertions, by newman', { skip: withoutRecipes }, async (t) => {
  t.equal(recipePackage('newman').version, RUNNERS.newman);
  const files = ['genesys-cloud-gateway.postman_collection.json', 'local.postman_environment.json'] as const;
  const wrong: Served = { ...proved, secret: 'not-the-secret' };
  const runs = [...GATEWAYS, wrong].map(({ url, client, secret }) => [
    { key: 'gateway', value: url },
    ...(client === '' ? [] : [{ key: 'gateway_client', value: client }]),
    ...(secret === '' ? [] : [{ key: 'gateway_secret', value: secret }]),
  ]);
  const args = [packageOf('newman'), ...files.map((file) => example(`postman/${file}`)), JSON.stringify(runs)];
  const { stdout, stderr } = await outputOf(begin(process.execPath, ['-e', NEWMAN, ...args], DIRECT));
  const good = { requests: { total: 6, failed: 0 }, assertions: { total: 6, failed: 0 }, failures: [] };
  const bad = { requests: { total: 6, failed: 0 }, assertions: { total: 6, failed: 5 } };
  t.match(JSON.parse(stdout || '[]'), [good, good, bad], stderr);
});

t.test('examples/http/gateway.http: all requests, by httpyac', { skip: withoutRecipes }, async (t) => {
  t.equal(recipePackage('httpyac').version, RUNNERS.httpyac);
  const text = readFileSync(example('http/gateway.http'), 'utf8');
  const folder = t.testdir({});
  const files = GATEWAYS.map(({ url, client, secret }, at) => {
    const here = text
      .replace('@gateway = http://localhost:8080', `@gateway = ${url}`)
      .replace('@client = local', `@client = ${client || 'local'}`)
      .replace('@secret = local', `@secret = ${secret || 'local'}`);
    writeFileSync(`${folder}/${at}.http`, here);
    return `${at}.http`;
  });
  const args = [`${packageOf('httpyac')}/bin/httpyac.js`, 'send', ...files, '--all', '--json'];
  const { stdout, stderr } = await outputOf(begin(process.execPath, args, DIRECT, folder));
  const { requests } = JSON.parse(stdout || '{}') as {
    requests?: { response?: { statusCode: number; request: { url: string } } }[];
  };
  const answered = requests?.map(({ response }) => [response?.statusCode, new URL(response?.request.url ?? '').origin]);
  const all = GATEWAYS.flatMap(({ url }) => Array.from({ length: 8 }, () => [200, url]));
  t.strictSame(answered, all, stderr);
});

t.test('examples/curl/calls.sh', { skip: withoutCurl }, async (t) => {
  for (const served of GATEWAYS) {
    const { code, stdout, stderr } = await outputOf(begin('sh', [example('curl/calls.sh')], settingsOf(served)));
    t.equal(code, 0, `${served.name}: ${stderr}`);
    for (const part of ['"status":"ready"', '"total":60', '"totalHits":3', 'Simulated Organization'])
      t.match(stdout, part, served.name);
  }
  t.equal(
    sandbox.events.recent.filter(({ method }) => method === 'DELETE').length,
    0,
    'no token of the platform ended',
  );
});

t.test('curl, with what it can do', { skip: withoutCurl }, async (t) => {
  const { url } = anonymous;
  const run = promisify(execFile);
  const curl = async (...args: readonly string[]) =>
    (await run('curl', ['--silent', '--show-error', '--max-time', '10', '--noproxy', '*', ...args])).stdout;
  t.equal(JSON.parse(await curl(`${url}/api/v2/users?pageSize=2`)).entities.length, 2);
  t.match(await curl('--head', `${url}/api/v2/users`), /^HTTP\/1\.1 200 OK/);
  t.equal(JSON.parse(await curl('--compressed', `${url}/api/v2/users?pageSize=100`)).entities.length > 2, true, 'gzip');
  const sink = `${url}/api/v2/sandbox/sink`;
  const sunk = await curl('--header', 'Expect: 100-continue', '--data-binary', 'x'.repeat(100_000), sink);
  t.equal(JSON.parse(sunk).bytes, 100_000);
  const large = `${url}/api/v2/sandbox/bytes?size=3000000&chunked=1`;
  const told = await curl('--output', '/dev/null', '--write-out', '%{http_code} %{size_download}', large);
  t.equal(told, '200 3000000');
  const own = ['--include', '-H', 'Authorization: Bearer mine'];
  t.match(await curl(...own, `${url}/api/v2/sandbox/status/404`), /^HTTP\/1\.1 404 Not Found/);
  t.match(await curl('--http2', `${url}/api/v2/users?pageSize=1`), /"pageSize":1/, 'which offers h2c');
  t.equal(sandbox.stats.unauthenticatedCalls + sandbox.stats.unknownTokenCalls, 0);
});

t.test('docs/sdk-recipes.md shows what is in the examples, and names the versions that are run here', async (t) => {
  const page = readFileSync(example('../docs/sdk-recipes.md'), 'utf8');
  const plain = (text: string) =>
    text
      .split('\n')
      .map((line) => line.trim())
      .join('\n');
  const files = globSync('**/*.*', { cwd: example('') }).filter((path) =>
    /\.(?:mjs|cjs|html|py|go|java|cs|tf)$/.test(path),
  );
  const examples = files.map((path) => plain(readFileSync(example(path), 'utf8')));
  const blocks = [...page.matchAll(/^```(?:js|python|go|java|csharp|hcl)\n([\s\S]*?)^```$/gm)].map(
    ([, text = '']) => text,
  );
  t.equal(blocks.length, 8);
  for (const block of blocks)
    t.ok(
      examples.some((text) => text.includes(plain(block))),
      block,
    );

  const rows = new Map(
    [...page.matchAll(/^\| (.*?) \| (.*?) \|/gm)].map(([, client = '', versions = '']) => [client, versions]),
  );
  const versionsOf = (file: string) => SDKS.filter((row) => row.file === file).map(({ version }) => version);
  t.equal(rows.get('[JavaScript](#javascript), Node'), versionsOf('client-credentials.mjs').join(', '));
  t.equal(
    rows.get('JavaScript by its base path, all there is before 207.0.0'),
    versionsOf('before-207.cjs').join(', '),
  );
  t.equal(
    rows.get('[JavaScript in a page](#javascript-in-a-page)'),
    [...new Set(SDKS.map((row) => row.version))].join(', '),
  );
  t.equal(rows.get('[Postman](#postman-http-files-curl)'), `newman ${RUNNERS.newman}`);
  t.equal(rows.get('[`.http` files](#postman-http-files-curl)'), `httpyac ${RUNNERS.httpyac}`);
  t.match(readFileSync(example('go/main.go'), 'utf8'), rows.get('[Go](#go)')?.replace(/\..*/, ''));
  t.match(readFileSync(example('dotnet/list-users.csproj'), 'utf8'), /"270\.0\.0"/, 'what was read');
});

t.test('examples/run.sh tells what passes, what fails, and what cannot be run', { skip: withoutCurl }, async (t) => {
  // As a package lies there, without a `gcg` on the path.
  const folder = t.testdir({
    python3: '#!/bin/sh\n[ "$1" = -c ] || echo 59 users\n',
    node: t.fixture('symlink', process.execPath),
    dist: { 'main.js': `import(${JSON.stringify(pathToFileURL(MAIN))})` },
    examples: {
      'run.sh': readFileSync(example('run.sh')),
      curl: { 'calls.sh': readFileSync(example('curl/calls.sh')) },
    },
  });
  chmodSync(`${folder}/python3`, 0o755);
  const env = { ...DIRECT, PATH: `${folder}:${childEnvironment.PATH}` };
  const { code, stdout, stderr } = await outputOf(
    begin('sh', [`${folder}/examples/run.sh`, 'curl', 'python', 'cobol'], env),
  );
  t.equal(code, 1, stderr);
  const kinds = ['for everybody on this machine', 'with clients'];
  t.strictSame(stdout.match(/^\w.*$/gm), [
    'FAIL  cobol: cannot be run here: there is no example of that name: curl javascript python go java dotnet gc terraform',
    ...kinds.flatMap((kind) => [`pass  curl, on a gateway ${kind}`, `FAIL  python, on a gateway ${kind}:`]),
    '2 passed, 3 failed',
  ]);
  t.match(stdout, /^ +59 users$/m, 'with what a failure said');
});

t.test("gc: the file for its gateway setting has the shape of the CLI's type, all texts", async (t) => {
  const settings = JSON.parse(readFileSync(example('gc/gateway.json'), 'utf8'));
  const { pathParams = {}, ...texts } = settings;
  t.strictSame(texts, { protocol: 'http', host: 'localhost', port: '8080' });
  t.notOk(Array.isArray(pathParams));
  for (const value of Object.values(pathParams)) t.type(value, 'string');
});
