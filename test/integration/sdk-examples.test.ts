import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { createUsers } from '../../src/sandbox/directory.ts';
import { allCredentials, clientNamed } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';

const SOMEBODY = createUsers(1)[0] as { email: string; name: string };
const example = (path: string) => fileURLToPath(new URL(`../../examples/${path}`, import.meta.url));

/** Runs an example with its settings in the environment, and a proxy there that would fail every call it caught. */
function run(t: Test, command: string, args: string[], env: Record<string, string>): ChildProcessWithoutNullStreams {
  const child = spawn(command, args, {
    env: {
      PATH: process.env.PATH ?? '',
      HOME: '/nonexistent',
      HTTP_PROXY: 'http://127.0.0.1:9',
      http_proxy: 'http://127.0.0.1:9',
      ...env,
    },
  });
  t.teardown(() => child.kill());
  return child;
}

async function outputOf(
  child: ChildProcessWithoutNullStreams,
): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, 'close');
  return { code, stdout, stderr };
}

const clients = [clientNamed('crm'), clientNamed('portal', { credentials: ['web'] })];
const start = (t: Test) =>
  startGateway(t, {
    sandbox: { switches: { login: { approve: SOMEBODY.email } } },
    config: (origin) => ({ credentials: allCredentials(origin), clients }),
  });

t.test('examples/javascript/client-credentials.mjs', async (t) => {
  const { port } = await start(t);
  const env = {
    GATEWAY_HOST: '127.0.0.1',
    GATEWAY_PORT: String(port),
    GATEWAY_CLIENT: 'crm',
    GATEWAY_SECRET: 'crm-secret',
  };
  const { code, stdout, stderr } = await outputOf(
    run(t, process.execPath, [example('javascript/client-credentials.mjs')], {
      ...env,
      NO_PROXY: '127.0.0.1,localhost',
    }),
  );
  t.equal(code, 0, stderr);
  t.match(stdout, /^60 users, the first: /);
  const caught = await outputOf(run(t, process.execPath, [example('javascript/client-credentials.mjs')], env));
  t.not(caught.code, 0, 'without NO_PROXY the proxy of the environment catches the calls');
});

t.test('examples/javascript/web-login.mjs', async (t) => {
  const { port, url, sandbox } = await start(t);
  const env = {
    GATEWAY_HOST: '127.0.0.1',
    GATEWAY_PORT: String(port),
    GATEWAY_CLIENT: 'portal',
    GATEWAY_SECRET: 'portal-secret',
    PORT: '0',
    NO_PROXY: '127.0.0.1,localhost',
  };
  const child = run(t, process.execPath, [example('javascript/web-login.mjs')], env);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const app = /http:\/\/localhost:\d+\//.exec(line.toString())?.[0] ?? '';
  const toGateway = (await fetch(app, { redirect: 'manual' })).headers.get('location') ?? '';
  t.ok(toGateway.startsWith(`${url}/oauth/authorize?client_id=portal&`));
  const toLogin = (await fetch(toGateway, { redirect: 'manual' })).headers.get('location') ?? '';
  const toApp = (await fetch(toLogin, { redirect: 'manual' })).headers.get('location') ?? '';
  t.equal(await (await fetch(toApp)).text(), `Hello ${SOMEBODY.name}\n`);
  t.match(sandbox.stats.tokenRequests.authorization_code, { ok: 1 });
});

t.test('examples/curl/calls.sh', async (t) => {
  const { url, sandbox } = await start(t);
  const { code, stdout, stderr } = await outputOf(
    run(t, 'sh', [example('curl/calls.sh')], { GATEWAY: url, GATEWAY_CLIENT: 'crm', GATEWAY_SECRET: 'crm-secret' }),
  );
  t.equal(code, 0, stderr);
  t.match(stdout, /"status":"ready"/);
  t.match(stdout, /"total":60/);
  t.match(stdout, /"totalHits":3/);
  t.match(stdout, /Simulated Organization/);
  t.equal(sandbox.events.recent.filter(({ method }) => method === 'DELETE').length, 0);
});

t.test('the Postman collection is a v2.1 collection whose requests the simulation knows', async (t) => {
  const { url, gateway } = await start(t);
  void gateway;
  const read = (name: string) => JSON.parse(readFileSync(example(`postman/${name}`), 'utf8'));
  const collection = read('genesys-cloud-gateway.postman_collection.json');
  const variables = new Map<string, string>(
    read('local.postman_environment.json').values.map(({ key, value }: { key: string; value: string }) => [key, value]),
  );
  variables.set('gateway', url).set('gateway_client', 'crm').set('gateway_secret', 'crm-secret');
  t.match(collection.info.schema, /v2\.1\.0/);
  const fill = (text: string) =>
    text.replace(/\{\{(\w+)\}\}/g, (_, name: string) => variables.get(name) ?? `no ${name}`);
  for (const { name, request } of collection.item) {
    const headers: Record<string, string> = Object.fromEntries(
      request.header.map(({ key, value }: { key: string; value: string }) => [key, fill(value)]),
    );
    const auth = request.auth?.type ?? 'apikey';
    if (auth === 'apikey') headers['X-Gateway-Key'] = fill('{{gateway_secret}}');
    if (auth === 'basic')
      headers.Authorization = `Basic ${Buffer.from(fill('{{gateway_client}}:{{gateway_secret}}')).toString('base64')}`;
    if (auth === 'bearer') headers.Authorization = `Bearer ${fill('{{handle}}')}`;
    const body =
      request.body?.mode === 'raw'
        ? request.body.raw
        : request.body
          ? new URLSearchParams(
              request.body.urlencoded.map(({ key, value }: { key: string; value: string }) => [key, value]),
            )
          : null;
    const answer = await fetch(fill(request.url.raw), { method: request.method, headers, body });
    t.equal(answer.status, 200, name);
    const document = (await answer.json()) as { access_token?: string };
    if (document.access_token) variables.set('handle', document.access_token);
  }
});

t.test("gc: the file for its gateway setting has the shape of the CLI's type, all texts", async (t) => {
  const settings = JSON.parse(readFileSync(example('gc/gateway.json'), 'utf8'));
  const { pathParams = {}, ...texts } = settings;
  t.strictSame(texts, { protocol: 'http', host: 'localhost', port: '8080' });
  t.notOk(Array.isArray(pathParams));
  for (const value of Object.values(pathParams)) t.type(value, 'string');
});
