// The official SDK, unmodified, with its base path pointed here, and curl: both read users without a token of their
// own.

import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import t from 'tap';
import { startGateway } from '../helpers/gateway.ts';

const run = promisify(execFile);

interface Sdk {
  ApiClient: {
    instance: {
      config: { basePath: string; live_reload_config: boolean };
      setReturnExtendedResponses(on: boolean): void;
    };
  };
  UsersApi: new () => {
    getUsers(options: object): Promise<{ entities: { id: string; name: string }[]; total: number }>;
    getUser(id: string): Promise<{ id: string }>;
    patchUser(id: string, body: object): Promise<{ title: string }>;
  };
  TokensApi: new () => { headTokensMe(): Promise<unknown> };
}

t.test('purecloud-platform-client-v2 reads and changes users with no token', async (t) => {
  const { url, sandbox } = await startGateway(t);
  const sdk = createRequire(import.meta.url)('purecloud-platform-client-v2') as Sdk;
  const client = sdk.ApiClient.instance;
  client.config.live_reload_config = false;
  client.config.basePath = url;
  const users = new sdk.UsersApi();
  const page = await users.getUsers({
    pageSize: 3,
    pageNumber: 1,
    expand: ['presence', 'authorization'],
    state: 'active',
  });
  t.equal(page.entities.length, 3);
  t.equal(page.total > 3, true);
  const first = page.entities[0]!;
  t.equal((await users.getUser(first.id)).id, first.id);
  t.match(await users.patchUser(first.id, { version: 1, title: 'Tested' }), { title: 'Tested' });
  await new sdk.TokensApi().headTokensMe();
  t.match(
    sandbox.events.recent.find(({ method, kind }) => method === 'GET' && kind === 'api')?.target,
    /expand=presence,authorization/,
    'commas as the SDK wrote them',
  );
  await t.rejects(
    users.getUser('00000000-0000-4000-8000-000000000000'),
    { status: 404, code: 'not.found' },
    "the platform's errors are the platform's",
  );
  t.equal(sandbox.stats.unauthenticatedCalls, 0);
  t.equal(sandbox.stats.tokenRequestsTotal, 1);
});

t.test('curl reads users with no token', async (t) => {
  const { url, sandbox } = await startGateway(t);
  let version: string;
  try {
    version = (await run('curl', ['--version'])).stdout;
  } catch {
    if (process.env.CI === 'true') return t.fail('curl is missing');
    return t.comment('skipped: there is no curl here');
  }
  t.match(version, /^curl /);
  const curl = async (...args: readonly string[]) =>
    (await run('curl', ['--silent', '--show-error', '--max-time', '10', '--noproxy', '*', ...args])).stdout;
  t.equal(JSON.parse(await curl(`${url}/api/v2/users?pageSize=2`)).entities.length, 2);
  t.match(await curl('--head', `${url}/api/v2/users`), /^HTTP\/1\.1 200 OK/);
  t.equal(JSON.parse(await curl('--compressed', `${url}/api/v2/users?pageSize=100`)).entities.length > 2, true, 'gzip');
  const sunk = JSON.parse(
    await curl(
      '--header',
      'Expect: 100-continue',
      '--data-binary',
      'x'.repeat(200_000).slice(0, 100_000),
      `${url}/api/v2/sandbox/sink`,
    ),
  );
  t.equal(sunk.bytes, 100_000);
  t.equal(
    await curl(
      '--output',
      '/dev/null',
      '--write-out',
      '%{http_code} %{size_download}',
      `${url}/api/v2/sandbox/bytes?size=3000000&chunked=1`,
    ),
    '200 3000000',
  );
  t.match(
    await curl('--include', '-H', 'Authorization: Bearer mine', `${url}/api/v2/sandbox/status/404`),
    /^HTTP\/1\.1 404 Not Found/,
  );
  t.match(await curl('--http2', `${url}/api/v2/users?pageSize=1`), /"pageSize":1/, 'which offers h2c');
  t.equal(sandbox.stats.unauthenticatedCalls + sandbox.stats.unknownTokenCalls, 0);
});
