// What proved a handle or a session is kept with it and asked again: at each use, at a refresh, for a socket that is
// open, after a restart.

import { hash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { signHandle } from '../../src/auth/callers/client-handle.ts';
import { deriveAnonymousKey } from '../../src/auth/callers/handles.ts';
import type { ClientConfig } from '../../src/config/gateway-config.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createUsers } from '../../src/sandbox/directory.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { inlineSecret, type Secret } from '../../src/secret.ts';
import { askAt, type Question } from '../helpers/ask.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { allCredentials, basic, clientNamed, followLogin, type TokenAnswer } from '../helpers/clients.ts';
import {
  type ConfigOverrides,
  configAt,
  startGateway,
  startGatewayWith,
  stateFolder,
  type TestGateway,
} from '../helpers/gateway.ts';
import { closeOf, makeChannel, openWebSocket } from '../helpers/sockets.ts';

const SOMEBODY = (createUsers(1)[0] as { email: string }).email;
const serverCa = await createTestCa('Server CA');
const clientCa = await createTestCa('Client CA');
const laterCa = await createTestCa('Later CA');
const pair = serverCa.issue(['localhost', '127.0.0.1']);
const crm = clientCa.issue(['crm.internal'], { commonName: 'crm' });
t.teardown(() => {
  for (const ca of [serverCa, clientCa, laterCa]) ca.close();
});

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Asks the token endpoint, with any proof. */
async function askToken(
  url: string,
  form: Record<string, string>,
  question: Question = {},
): Promise<TokenAnswer['body'] & { status: number }> {
  const headers = { ...FORM, ...question.headers };
  const answer = await askAt(url, {
    ...question,
    method: 'POST',
    path: '/oauth/token',
    headers,
    body: new URLSearchParams(form).toString(),
  });
  return { ...JSON.parse(answer.body), status: answer.status };
}

const CLIENT_CREDENTIALS = { grant_type: 'client_credentials' };
const tls = { certFile: pair.certFile, keyFile: pair.keyFile, clientCaFile: clientCa.caFile };
const clients = [clientNamed('crm', { certSubject: 'crm' })];

/** Ways a gateway can be open to callers, and what of a handle is good there: by what it was given for. */
const REGIMES: Record<string, { overrides: ConfigOverrides; good: readonly string[] }> = {
  anonymous: { overrides: {}, good: ['nothing'] },
  'anonymous and clients': {
    overrides: { clients, server: { anonymousCredentials: ['default'] } },
    good: ['nothing', 'secret'],
  },
  clients: { overrides: { clients }, good: ['secret'] },
  CA: { overrides: { server: { tls } }, good: ['certificate of the CA'] },
  'CA and clients': { overrides: { clients, server: { tls } }, good: ['secret', 'certificate of a client'] },
};

t.test(
  'a handle given under one way of proving is good under another only where what it was given for counts',
  async (t) => {
    const sandbox = createSandbox();
    const { origin } = await sandbox.listen({ port: 0 });
    t.teardown(() => sandbox.close());
    const store = { type: 'file', path: stateFolder(t) } as const;
    const handles = new Map<string, { from: string; givenFor: string }>();
    for (const [from, { overrides, good }] of Object.entries(REGIMES)) {
      const { url, gateway } = await startGatewayWith(t, configAt(origin, { ...overrides, store }));
      for (const givenFor of good) {
        const question: Question = givenFor.startsWith('certificate') ? { certificate: crm } : {};
        const headers: Record<string, string> =
          givenFor === 'secret' ? { authorization: basic('crm', 'crm-secret') } : {};
        const { access_token: handle } = await askToken(url, CLIENT_CREDENTIALS, { ...question, headers });
        handles.set(handle, { from, givenFor });
      }
      await gateway.drain();
    }
    t.equal(handles.size, 7);
    for (const [to, { overrides, good }] of Object.entries(REGIMES)) {
      const { url, gateway } = await startGatewayWith(t, configAt(origin, { ...overrides, store }));
      for (const [handle, { from, givenFor }] of handles) {
        const wanted = good.includes(givenFor) ? { status: 200 } : { status: 401, code: 'gateway.session.ended' };
        t.match(
          await askAt(url, { headers: bearer(handle) }),
          wanted,
          `given under ${from} for ${givenFor}, shown under ${to}`,
        );
      }
      await gateway.drain();
    }
  },
);

t.test('a handle of nobody, made by who knows the credential, is nobody’s everywhere', async (t) => {
  const { origin } = await (async () => {
    const sandbox = createSandbox();
    t.teardown(() => sandbox.close());
    return sandbox.listen({ port: 0 });
  })();
  for (const [to, { overrides, good }] of Object.entries(REGIMES)) {
    const adminListen = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
    const config = configAt(origin, { ...overrides, server: { ...overrides.server, adminListen } });
    const { url, gateway } = await startGatewayWith(t, config);
    const key = deriveAnonymousKey(config.credentials[0]) as Secret;
    for (const proof of [null, 'certificate', 'cert:0:0', 'a mark']) {
      for (const client of [null, 'crm']) {
        const headers = bearer(
          signHandle({ client, credential: null, authFingerprint: proof, issuedAt: Date.now() }, key),
        );
        const isGood = client === null && proof === null && good.includes('nothing');
        t.equal((await askAt(url, { headers })).status, isGood ? 200 : 401, `${client}, ${proof} under ${to}`);
        const isOpen = isGood && to === 'anonymous';
        t.equal(
          (await askAt(url, { headers, path: '/-/status' })).status,
          isOpen ? 200 : isGood ? 403 : 401,
          `/-/status, ${client}, ${proof}, ${to}`,
        );
      }
    }
    await gateway.drain();
  }
});

/** A gateway whose client CAs are in a file that can be changed. */
async function startWithCa(t: Test, configured: readonly ClientConfig[]) {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-cas-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const clientCaFile = join(folder, 'cas.pem');
  copyFileSync(clientCa.caFile, clientCaFile);
  let seen = 0;
  const started = await startGateway(t, { config: { clients: configured, server: { tls: { ...tls, clientCaFile } } } });
  const swapCas = async (text: string) => {
    writeFileSync(clientCaFile, text);
    seen += 1;
    const has = () => started.log.lines.filter(({ msg }) => msg === 'certificate was read again').length >= seen;
    await started.log.nextLine('certificate was read again', has);
  };
  return { ...started, clientCaFile, swapCas };
}

for (const [whose, configured] of [
  ['a client', clients],
  ['whoever has one of the CA', []],
] as const) {
  t.test(`what a certificate of ${whose} proved ends with its CA, and not before`, async (t) => {
    const { url, swapCas } = await startWithCa(t, configured);
    const { access_token: handle } = await askToken(url, CLIENT_CREDENTIALS, { certificate: crm });
    const agent = new Agent({ keepAlive: true, ...crm });
    t.teardown(() => agent.destroy());
    const statuses = async () => [
      (await askAt(url, { headers: bearer(handle) })).status,
      (await askAt(url, { certificate: crm })).status,
      (await askAt(url, { agent })).status,
    ];
    t.same(await statuses(), [200, 200, 200]);
    await swapCas(`# two of them\n${laterCa.caPem}\n${clientCa.caPem}`);
    t.same(await statuses(), [200, 200, 200], 'another CA beside it takes nothing away');
    await swapCas(laterCa.caPem);
    t.same(
      await statuses(),
      [401, 401, 401],
      'without its CA: the handle, a new connection, and one that was open before',
    );
    await swapCas(clientCa.caPem);
    t.same((await statuses()).slice(0, 2), [200, 200], 'and it is back with it');
  });
}

t.test(
  'a handshake that is drawn out over a change of the CAs proves nothing by the CA that was taken away',
  async (t) => {
    const { url, port, swapCas } = await startWithCa(t, []);
    const openSocket = async () => {
      const socket = connect(port, '127.0.0.1');
      t.teardown(() => socket.destroy());
      await once(socket, 'connect');
      return socket;
    };
    const [early, kept] = [await openSocket(), await openSocket()];
    // The gateway has taken connections that were made before this one.
    t.equal((await askAt(url, { certificate: crm })).status, 200);
    const agentOver = (socket: Socket) => {
      const agent = new Agent({ ...crm, rejectUnauthorized: false });
      t.teardown(() => agent.destroy());
      return Object.assign(agent, {
        createConnection: () => tlsConnect({ socket, ...crm, rejectUnauthorized: false }),
      });
    };
    await swapCas(laterCa.caPem);
    t.equal((await askAt(url, { agent: agentOver(early) })).status, 401);
    await swapCas(`${laterCa.caPem}\n${clientCa.caPem}`);
    t.equal((await askAt(url, { agent: agentOver(kept) })).status, 200, 'while its CA is there it does');
  },
);

t.test(
  'what the certificate of a client proved ends with the subject, the client, and the CA of the configuration',
  async (t) => {
    const { url, gateway, config } = await startWithCa(t, clients);
    const { access_token: handle } = await askToken(url, CLIENT_CREDENTIALS, { certificate: crm });
    const status = async () => (await askAt(url, { headers: bearer(handle) })).status;
    t.equal(await status(), 200);
    for (const [name, changed] of [
      ['another subject', [clientNamed('crm', { certSubject: 'CN=other' })]],
      ['no subject', [clientNamed('crm')]],
      ['another client with the subject', [clientNamed('erp', { certSubject: 'crm' })]],
      ['no clients', []],
    ] as const) {
      gateway.replace({ ...config, clients: changed });
      t.equal(await status(), 401, name);
      gateway.replace(config);
      t.equal(await status(), 200, 'and is good again with it');
    }
  },
);

const REDIRECT = 'http://localhost:7777/callback';

async function loginByCode(url: string, question: Question) {
  const query = `response_type=code&client_id=${DEMO_CLIENTS.code.id}&redirect_uri=${encodeURIComponent(REDIRECT)}`;
  const { code } = await followLogin(`${url}/oauth/authorize?${query}`);
  return askToken(
    url,
    { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, client_id: DEMO_CLIENTS.code.id },
    question,
  );
}

const startForSessions = (t: Test, config: ConfigOverrides): Promise<TestGateway> =>
  startGateway(t, {
    sandbox: { switches: { login: { approve: SOMEBODY } } },
    config: (origin) => ({ credentials: allCredentials(origin), ...config }),
  });

const keyOf = (secret: string) => ({ headers: { 'x-gateway-key': secret } });
const crmWith = (secret: string, credentials: readonly string[] = ['web']) =>
  clientNamed('crm', { secret: inlineSecret(secret, 'test'), credentials });

t.test('a session ends with the secret that it was opened with: its use, its refresh and its socket', async (t) => {
  const { url, gateway, config, sandbox } = await startForSessions(t, { clients: [crmWith('first-secret')] });
  const { access_token: handle, refresh_token: refreshHandle = '' } = await loginByCode(url, keyOf('first-secret'));
  const status = async () => (await askAt(url, { path: '/api/v2/users/me', headers: bearer(handle) })).status;
  const refresh = (secret: string) =>
    askToken(url, { grant_type: 'refresh_token', refresh_token: refreshHandle }, keyOf(secret));
  const socket = await openWebSocket(t, (await makeChannel(url, bearer(handle), '/web')).connectUri);
  const end = closeOf(socket);
  t.equal(await status(), 200);
  t.equal((await refresh('first-secret')).status, 200);

  gateway.replace({ ...config, clients: [crmWith('second-secret')] });
  const asked = sandbox.events.recent.length;
  t.equal(await status(), 401);
  t.match(await refresh('second-secret'), { status: 400, error: 'invalid_grant' });
  t.same(await end, { code: 1008, reason: 'gateway.session.ended' });
  t.same(sandbox.events.recent.slice(asked), [], 'the platform is not asked');

  gateway.replace(config);
  t.equal(await status(), 200, 'it is not lost');
  gateway.replace({ ...config, clients: [clientNamed('erp', { credentials: ['web'] })] });
  t.equal(await status(), 401, 'nor good for another');
});

t.test(
  'where certificates prove callers and there are no clients, a session is refreshed by the subject that opened it',
  async (t) => {
    const { url, config } = await startForSessions(t, { server: { tls, anonymousCredentials: ['*'] } });
    const other = clientCa.issue(['other.internal'], { commonName: 'other' });
    const everybody: Record<string, Question> = {
      crm: { certificate: crm },
      other: { certificate: other },
      nobody: {},
    };
    const query = `response_type=code&client_id=${DEMO_CLIENTS.code.id}&redirect_uri=${encodeURIComponent(REDIRECT)}`;
    for (const [opener, mayRefresh] of [
      ['crm', ['crm']],
      ['nobody', ['crm', 'other', 'nobody']],
    ] as const) {
      const landed = await fetch(`${config.general.hosts.login.origin}/oauth/authorize?${query}`, {
        redirect: 'manual',
      });
      const code = new URL(landed.headers.get('location') ?? '').searchParams.get('code') ?? '';
      const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, client_id: DEMO_CLIENTS.code.id };
      const { refresh_token: shown = '' } = await askToken(url, form, everybody[opener]);
      for (const [who, question] of Object.entries(everybody)) {
        const answer = await askToken(url, { grant_type: 'refresh_token', refresh_token: shown }, question);
        const wanted = mayRefresh.includes(who as never) ? { status: 200 } : { status: 400, error: 'invalid_grant' };
        t.match(answer, wanted, `opened by ${opener}, refreshed by ${who}`);
      }
    }
  },
);

t.test('a socket opened with a secret ends with that secret, and lives on while both are good', async (t) => {
  const started = await startGateway(t, { config: { clients: [crmWith('first-secret', [])] } });
  const { url, gateway, config } = started;
  const socket = await openWebSocket(t, (await makeChannel(url, keyOf('first-secret').headers)).connectUri);
  const end = closeOf(socket);
  const second = crmWith('second-secret', []);
  gateway.replace({ ...config, clients: [{ ...second, secretSha256: [hash('sha256', 'first-secret')] }] });
  t.equal(socket.readyState, socket.OPEN);
  gateway.replace({ ...config, clients: [second] });
  t.same(await end, { code: 1008, reason: 'gateway.client.unauthenticated' });
});

t.test('a client that lost a session’s credential refreshes it no more', async (t) => {
  const { url, gateway, config, sandbox } = await startForSessions(t, { clients: [crmWith('first-secret')] });
  const { refresh_token: refreshHandle = '' } = await loginByCode(url, keyOf('first-secret'));
  gateway.replace({ ...config, clients: [crmWith('first-secret', ['default'])] });
  const asked = sandbox.events.recent.length;
  const answer = await askToken(
    url,
    { grant_type: 'refresh_token', refresh_token: refreshHandle },
    keyOf('first-secret'),
  );
  t.equal(answer.status, 403);
  t.equal(sandbox.events.recent.length, asked, 'the platform is not asked');
});

t.test('a session of nobody ends where callers without proof are served no more, its refresh too', async (t) => {
  const { url, gateway, config } = await startForSessions(t, { server: { anonymousCredentials: ['*'] } });
  const { access_token: handle, refresh_token: refreshHandle = '' } = await loginByCode(url, {});
  const status = async () => (await askAt(url, { path: '/api/v2/users/me', headers: bearer(handle) })).status;
  const strict = { ...config, clients: [clientNamed('crm')], server: { ...config.server, anonymousCredentials: null } };
  t.equal(await status(), 200);
  gateway.replace(strict);
  t.equal(await status(), 401);
  const refresh = { grant_type: 'refresh_token', refresh_token: refreshHandle };
  t.equal((await askToken(url, refresh)).status, 400);
  t.match(
    await askToken(url, refresh, keyOf('crm-secret')),
    { status: 400, error: 'invalid_grant' },
    'nor does it become a client’s',
  );
  gateway.replace({ ...strict, server: { ...strict.server, anonymousCredentials: ['*'] } });
  t.equal(await status(), 200);
});

t.test('what proved a session is kept across a restart', async (t) => {
  const sandbox = createSandbox({ switches: { login: { approve: SOMEBODY } } });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const store = { type: 'file', path: stateFolder(t) } as const;
  const startWith = (secret: string) =>
    startGatewayWith(t, configAt(origin, { store, credentials: allCredentials(origin), clients: [crmWith(secret)] }));
  const first = await startWith('first-secret');
  const { access_token: handle } = await loginByCode(first.url, keyOf('first-secret'));
  await first.gateway.drain();
  for (const [secret, wanted] of [
    ['second-secret', 401],
    ['first-secret', 200],
  ] as const) {
    const { url, gateway } = await startWith(secret);
    t.equal((await askAt(url, { path: '/api/v2/users/me', headers: bearer(handle) })).status, wanted, secret);
    await gateway.drain();
  }
});
