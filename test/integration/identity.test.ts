// Whose the token of each credential is: asked once a token, aside from the calls, and told where somebody looks. What
// goes wrong with it goes wrong with nothing else.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { createLiveSecrets } from '../../src/logging/redact/live-secrets.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createUsers, DEFAULT_ORGANIZATION } from '../../src/sandbox/directory.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import type { Switches } from '../../src/sandbox/switches.ts';
import { inlineSecret } from '../../src/secret.ts';
import { change, createCookieJar, personAt, startAdminGateway, statusOf } from '../helpers/admin.ts';
import { allCredentials, assertionFor, basic, postToken } from '../helpers/clients.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import {
  type ConfigOverrides,
  configAt,
  createTestLog,
  credentialAt,
  startGateway,
  type TestGateway,
} from '../helpers/gateway.ts';

const ADA = { login: { approve: 'ada.lindqvist@simulated-org.example' } };
const ORGANIZATION = { id: DEFAULT_ORGANIZATION.id, name: DEFAULT_ORGANIZATION.name };

function start(t: Test, options: Parameters<typeof startAdminGateway>[1] = {}): Promise<TestGateway> {
  return startAdminGateway(t, { identify: true, ...options });
}

async function answered({ gateway }: TestGateway, name = 'default') {
  return gateway.identity(5_000, name);
}

function asked(sandbox: Sandbox, path = '/api/v2/'): string[] {
  // What limits a token has is another question.
  const isAsked = (target: string) => target.startsWith(path) && !target.startsWith('/api/v2/organizations/limits');
  return sandbox.events.recent.filter(({ target }) => isAsked(target)).map(({ target }) => target);
}

t.test('a service is known by its organisation and OAuth client, by one call that does not count as use', async (t) => {
  const running = await start(t);
  const { identity, problem } = await answered(running);
  t.match(identity, { organization: ORGANIZATION, user: null, oauthClient: { name: 'Demo service' } });
  t.equal(problem, null);
  t.match((await statusOf(running.url)).credentials[0], {
    identity: { organization: ORGANIZATION, user: null, oauthClient: { name: 'Demo service' }, learntAt: /^20/ },
    identityProblem: null,
  });
  t.same(asked(running.sandbox), ['/api/v2/tokens/me?preserveIdleTTL=true']);
});

t.test('a person is known by name once logged in, is not in the log, and is forgotten after the logout', async (t) => {
  const running = await start(t, {
    sandbox: { switches: ADA },
    credentials: (origin) => [personAt(origin, 'pkce')],
  });
  const { url, sandbox, log } = running;
  const jar = createCookieJar();
  const logIn = async () =>
    (await jar.get((await jar.get((await jar.get(`${url}/-/login/crm`)).location)).location)).text();
  t.match(await logIn(), /logged in as Ada Lindqvist of Simulated Organization/);
  const { identity } = await answered(running, 'crm');
  t.match(identity, { organization: ORGANIZATION, user: { name: 'Ada Lindqvist' } });
  const lookUp = await running.gateway.identitiesForLog(5_000);
  t.same(lookUp('crm'), { organization: ORGANIZATION.name, oauthClient: 'Demo desktop application' });
  t.equal(lookUp('nobody'), null);
  t.notMatch(JSON.stringify(log.lines), /Lindqvist/);
  sandbox.set({ login: { approve: 'bruno.okafor@simulated-org.example' } });
  t.match(await logIn(), /Bruno Okafor/, 'nobody is taken for who logged in before');
  t.equal((await change(`${url}/-/credentials/crm/logout`)).status, 200);
  t.match((await statusOf(url)).credentials[0], { identity: null, identityProblem: null });
  t.notMatch(await (await fetch(url)).text(), /Okafor|Lindqvist/);
});

t.test('a renewed token is asked about again, and what was known stays meanwhile', async (t) => {
  const running = await start(t);
  await answered(running);
  const { url, sandbox } = running;
  sandbox.set({ holdApi: { path: '/api/v2/tokens/me' } });
  const held = sandbox.events.next('held');
  await change(`${url}/-/credentials/default/refresh`);
  await held;
  t.match((await statusOf(url)).credentials[0]?.identity, { organization: ORGANIZATION });
  sandbox.set({ holdApi: null });
  sandbox.release();
  await answered(running);
  t.equal(asked(sandbox).length, 2);
});

t.test('another account under the same name is not taken for the one before', async (t) => {
  const running = await start(t);
  await answered(running);
  const { url, sandbox, gateway, config } = running;
  sandbox.set({ tokenEndpoint: { fault: 'hang' } });
  const origin = config.general.hosts.api.origin;
  const clientSecret = inlineSecret('another', 'test');
  gateway.replace({ ...config, credentials: [credentialAt(origin, { clientId: 'another', clientSecret })] });
  t.equal((await statusOf(url)).credentials[0]?.identity, null);
  sandbox.release();
});

t.test('a token that is handed over to a changed configuration is not asked about again', async (t) => {
  const running = await start(t);
  await answered(running);
  const { url, sandbox, gateway, config } = running;
  gateway.replace({ ...config, reauthentication: { ...config.reauthentication, refreshTokenWaitMaxMs: 5_000 } });
  t.match((await statusOf(url)).credentials[0]?.identity, { organization: ORGANIZATION });
  t.equal(asked(sandbox).length, 1);
});

const FAILURES: readonly (readonly [string, Partial<Switches>, RegExp])[] = [
  ['500', { serverError: { status: 500, path: '/api/v2/tokens/me' } }, /tokens\/me answered 500 internal/],
  ['401', { unauthorized: { path: '/api/v2/tokens/me' } }, /tokens\/me answered 401 bad\.credentials/],
  ['an answer that is cut', { cutBody: { path: '/api/v2/tokens/me' } }, /connection|closed|ended|broke/],
  ['no answer', { closeBeforeAnswer: { path: '/api/v2/tokens/me' } }, /connection|closed/],
];
for (const [title, switches, words] of FAILURES) {
  t.test(`${title}: the calls are served, the token is kept, and status says why nobody is named`, async (t) => {
    const running = await start(t, { sandbox: { switches } });
    const { url, sandbox, log } = running;
    t.match((await answered(running)).problem, words);
    t.equal((await fetch(`${url}/api/v2/users`)).status, 200);
    t.equal((await fetch(`${url}/readyz`)).status, 200);
    t.match((await statusOf(url)).credentials[0], { token: 'fresh', identity: null, identityProblem: words });
    t.equal(sandbox.stats.tokensIssued, 1);
    t.same(
      log.lines
        .filter(({ level }) => level === 'warn' || level === 'error')
        .map(({ msg }) => msg)
        .filter((msg) => /identity/.test(msg)),
      [],
    );
  });
}

t.test('a question that failed for a passing reason is asked again later; a refusal is not', async (t) => {
  for (const [switches, again] of [
    [{ serverError: { status: 503, path: '/api/v2/tokens/me', next: 1 } }, 2],
    [{ unauthorized: { path: '/api/v2/tokens/me', next: 1 } }, 1],
  ] as const) {
    const clock = createFakeClock();
    const running = await start(t, { sandbox: { switches }, clock });
    t.ok((await answered(running)).problem);
    await clock.advance(31_000);
    await answered(running);
    t.equal(asked(running.sandbox).length, again);
  }
});

t.test('a question that is never answered holds up neither readiness, nor calls, nor the end', async (t) => {
  const running = await start(t, {
    sandbox: { switches: { holdApi: { path: '/api/v2/tokens/me' } } },
    // An end that waits for it does not come before the file runs out of time.
    config: { server: { drainTimeoutMs: 3_600_000 } },
  });
  const { url, gateway } = running;
  t.equal((await fetch(`${url}/readyz`)).status, 200);
  t.equal((await fetch(`${url}/api/v2/users`)).status, 200);
  await gateway.drain();
});

t.test('where limits are narrow or calls wait, nothing is asked', async (t) => {
  const overrides: ConfigOverrides = { rateLimit: { requestsPerMinute: 5 } };
  const running = await start(t, { overrides });
  t.match((await answered(running)).problem, /leaves no room/);
  t.same(asked(running.sandbox), []);
  for (let call = 0; call < 5; call += 1) t.equal((await fetch(`${running.url}/api/v2/users`)).status, 200);
});

t.test('names are cut and cleaned, whatever the platform says', async (t) => {
  const name = `Acme\u001b[31m\u202e\n<script>${'x'.repeat(5_000)}`;
  const running = await start(t, { sandbox: { organization: { ...DEFAULT_ORGANIZATION, name } } });
  const { identity } = await answered(running);
  t.match(identity?.organization?.name, /^Acme \[31m <script>x+$/);
  t.equal(identity?.organization?.name.length, 200);
  t.match(await (await fetch(running.url)).text(), /Acme \[31m &lt;script&gt;/);
});

t.test('a platform that tells our own secrets, as names or as a code, has them shown to nobody', async (t) => {
  let answer = { status: 200, body: {} };
  const platform = createServer(({ url }, response) => {
    const isToken = url === '/oauth/token';
    response.writeHead(isToken ? 200 : answer.status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(isToken ? { access_token: 'canary-token', expires_in: 60 } : answer.body));
  }).listen(0, '127.0.0.1');
  await once(platform, 'listening');
  t.teardown(() => platform.close());
  const origin = `http://127.0.0.1:${(platform.address() as AddressInfo).port}`;
  const tell = async () => {
    const liveSecrets = createLiveSecrets();
    const log = createTestLog();
    const gateway = await createGateway(configAt(origin), { log, env: {}, identify: true, liveSecrets });
    await gateway.listen();
    await gateway.runtime().credentials.default()?.source.token();
    const told = await gateway.identity(5_000, 'default');
    await gateway.drain();
    return told;
  };
  // The cut must not leave half of a secret.
  answer = { status: 200, body: { organization: { id: 'canary-token', name: `${'x'.repeat(191)} canary-token` } } };
  const { identity } = await tell();
  t.same(identity?.organization, { id: '[redacted]', name: `${'x'.repeat(191)} [redacte` });
  answer = { status: 403, body: { code: `see ${'x'.repeat(86)} canary-token` } };
  t.equal((await tell()).problem, 'GET /api/v2/tokens/me answered 403');
  answer = { status: 403, body: { code: 'not.authorized' } };
  t.equal((await tell()).problem, 'GET /api/v2/tokens/me answered 403 not.authorized');
});

t.test('an embedding program that does not ask for it makes no call', async (t) => {
  const running = await startAdminGateway(t);
  t.same(await running.gateway.identity(1_000), { identity: null, learntAt: null, problem: null });
  t.same(asked(running.sandbox), []);
});

t.test("records name a session's user, whom the platform was asked for once, aside from the calls", async (t) => {
  const [ada, bruno] = createUsers(2) as unknown as [{ id: string; email: string }, { id: string; email: string }];
  const file = join(t.testdir(), 'audit.jsonl');
  const { url, sandbox, log, gateway } = await startGateway(t, {
    identify: true,
    config: (origin) => ({
      ...{ credentials: allCredentials(origin), server: { anonymousCredentials: ['*'] } },
      audit: { file, methods: ['PATCH'] },
    }),
  });
  await gateway.identity(5_000, 'default');
  const login = async (email: string) => {
    const { body } = await postToken(
      `${url}/oauth/token`,
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer',
        orgName: 'Simulated Organization',
        assertion: assertionFor(email),
      },
      { authorization: basic(DEMO_CLIENTS.saml2Bearer.id, 'x') },
    );
    return body.access_token;
  };
  const call = async (token: string | null, path: string, method = 'GET') => {
    const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    const answer = await fetch(`${url}${path}`, { method, headers });
    await answer.arrayBuffer();
    const requestId = answer.headers.get('x-gateway-request-id');
    return (await log.nextExchange((record) => record.requestId === requestId)).sessionUser;
  };
  const tokens = [await login(ada.email), await login(bruno.email)] as const;
  // Asked aside: calls that come before the answer are recorded without the name.
  for (const token of tokens) while ((await call(token, '/api/v2/users?pageNumber=9')) === null);
  for (const at of [1, 2]) {
    t.equal(await call(tokens[0], `/api/v2/users?pageNumber=${at}`), ada.id);
    t.equal(await call(tokens[1], `/api/v2/users?pageNumber=${at}`), bruno.id);
  }
  t.equal(await call(tokens[1], '/api/v2/sandbox/echo', 'PATCH'), bruno.id);
  t.equal(await call(null, '/api/v2/sandbox/echo', 'PATCH'), null);
  t.equal(await call(null, '/api/v2/users'), null, "a credential is nobody's session");
  t.equal(asked(sandbox, '/api/v2/users/me').length, 2, 'once a session');
  t.notMatch(JSON.stringify(log.lines), /lindqvist/i, 'an id, and no name');
  // Lines of the audit trail are written aside from the calls: drained, all of them are in the file.
  await gateway.drain();
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.includes('"call"'));
  t.same(
    lines.map((line) => JSON.parse(line).sessionUser),
    [bruno.id, undefined],
    'the audit trail, too',
  );
});
