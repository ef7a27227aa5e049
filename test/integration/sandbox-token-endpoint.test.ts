import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import type { TokenFault } from '../../src/sandbox/switches.ts';
import { basic, exchangeRaw, start } from '../unit/sandbox/harness.ts';

const { clientCredentials, code, saml2Bearer } = DEMO_CLIENTS;

t.test('client credentials give an opaque bearer token that the API takes', async (t) => {
  const { token, call, sandbox } = await start(t);
  const { status, body, headers } = await token();
  t.equal(status, 200);
  t.match(body, { access_token: /^[\w-]{86}$/, token_type: 'bearer', expires_in: 86_400 });
  t.notOk('refresh_token' in body);
  t.match(headers.get('cache-control'), /no-store/);
  t.equal((await call('/api/v2/tokens/me', { token: body.access_token })).body.OAuthClient.id, clientCredentials.id);
  t.match(sandbox.stats, { tokenRequests: { client_credentials: { ok: 1 } }, tokensIssued: 1, validTokens: 1 });
});

const refusals: [string, Record<string, string>, string | null, string, string][] = [
  [
    'a wrong secret',
    { grant_type: 'client_credentials' },
    basic({ ...clientCredentials, secret: 'no' }),
    'invalid_client',
    'authentication failed',
  ],
  [
    'an unknown id, as in a wrong region',
    { grant_type: 'client_credentials' },
    basic({ id: 'x', secret: 'y' }),
    'invalid_client',
    'client not found',
  ],
  [
    'a percent-encoded id',
    { grant_type: 'client_credentials' },
    basic({ id: clientCredentials.id.replaceAll('-', '%2D'), secret: clientCredentials.secret }),
    'invalid_client',
    'client not found',
  ],
  [
    'no authentication',
    { grant_type: 'client_credentials' },
    null,
    'invalid_client',
    'client authentication is missing',
  ],
  [
    'a bare id of a client with a secret',
    { grant_type: 'client_credentials', client_id: clientCredentials.id },
    null,
    'invalid_client',
    'authentication failed',
  ],
  [
    'a grant the client may not use',
    { grant_type: 'client_credentials' },
    basic(code),
    'unauthorized_client',
    'client is not authorized for this grant type',
  ],
  [
    'an unknown grant',
    { grant_type: 'password' },
    basic(clientCredentials),
    'unsupported_grant_type',
    'unsupported grant type',
  ],
  ['no grant', { x: 'y' }, basic(clientCredentials), 'invalid_request', 'grant_type is missing'],
  [
    'an unknown code',
    { grant_type: 'authorization_code', code: 'x', redirect_uri: 'y' },
    basic(code),
    'invalid_grant',
    'code not found, expired or already used',
  ],
  [
    'an unknown refresh token',
    { grant_type: 'refresh_token', refresh_token: 'x' },
    basic(code),
    'invalid_grant',
    'refresh token not found, expired or revoked',
  ],
];
for (const [name, form, authorization, error, description] of refusals) {
  t.test(`${name} is refused with HTTP 400 ${error}`, async (t) => {
    const { token, sandbox } = await start(t);
    const { status, body } = await token(form, authorization);
    t.equal(status, 400);
    t.same(body, { error, description, error_description: description });
    t.equal(sandbox.stats.tokensIssued, 0);
  });
}

t.test('a form that is doubled, too large or of another type is refused', async (t) => {
  const { origin, token } = await start(t);
  const post = async (body: string, type: string) =>
    (await fetch(`${origin}/oauth/token`, { method: 'POST', headers: { 'Content-Type': type }, body })).status;
  t.equal(await post('grant_type=client_credentials&grant_type=x', 'application/x-www-form-urlencoded'), 400);
  t.equal(await post('{"grant_type":"client_credentials"}', 'application/json'), 400);
  t.match((await token({ grant_type: 'client_credentials', padding: 'x'.repeat(300_000) })).body, {
    description: 'the body is too large',
  });
});

t.test('a SAML assertion in its time gives a token of the person it names, and no refresh token', async (t) => {
  const { token, call, sandbox, clock } = await start(t);
  const xml = (end: number) =>
    '<Assertion><Subject><NameID>ada.lindqvist@simulated-org.example</NameID></Subject><Conditions ' +
    `NotOnOrAfter="${new Date(end).toISOString()}"/></Assertion>`;
  const form = (end: number, orgName = 'simulated-org') => ({
    grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer',
    orgName,
    assertion: Buffer.from(xml(end)).toString('base64'),
  });
  const given = await token(form(clock.now() + 1000), basic(saml2Bearer));
  t.equal(given.status, 200);
  t.notOk('refresh_token' in given.body);
  t.equal((await call('/api/v2/users/me', { token: given.body.access_token })).body.name, 'Ada Lindqvist');
  t.match((await token(form(clock.now()), basic(saml2Bearer))).body, {
    error: 'invalid_grant',
    description: 'the assertion has expired',
  });
  t.match((await token(form(clock.now() + 1000, 'other'), basic(saml2Bearer))).body, {
    description: 'organization not found',
  });
  t.match(sandbox.stats.tokenRequests.saml2_bearer, { ok: 1, invalid_grant: 1, invalid_request: 1 });
});

t.test('a throttled login is HTTP 400 invalid_request, with Retry-After where asked', async (t) => {
  const { token } = await start(t, { switches: { throttleLogin: { next: 1, retryAfterS: 9 } } });
  const { status, body, headers } = await token();
  t.equal(status, 400);
  t.match(body, { error: 'invalid_request', error_description: /^rate limit exceeded; / });
  t.equal(headers.get('retry-after'), '9');
  t.equal((await token()).status, 200);
});

const odd: [string, { value?: string | number | null }, unknown][] = [
  ['missing', {}, undefined],
  ['text of digits', { value: '3600' }, '3600'],
  ['other text', { value: 'abc' }, 'abc'],
  ['zero', { value: 0 }, 0],
  ['negative', { value: -5 }, -5],
  ['huge', { value: 1e12 }, 1e12],
  ['null', { value: null }, null],
];
for (const [name, expiresIn, told] of odd) {
  t.test(`expires_in can be ${name}, and the token works all the same`, async (t) => {
    const { token, call } = await start(t, { switches: { expiresIn } });
    const { body } = await token();
    t.equal(body.expires_in, told);
    t.equal('expires_in' in body, told !== undefined);
    t.equal((await call('/api/v2/tokens/me', { token: body.access_token })).status, 200);
  });
}

/** Fault, tokens issued by it, and what the client sees. */
const answered: [TokenFault, number, { status: number; text: RegExp }][] = [
  ['status', 0, { status: 500, text: /told to fail/ }],
  ['empty', 0, { status: 200, text: /^$/ }],
  ['html', 0, { status: 200, text: /^<!doctype html>/ }],
  ['malformed', 0, { status: 200, text: /^\{"access_token": "$/ }],
  ['no-token', 1, { status: 200, text: /^\{"token_type":"bearer"/ }],
  ['line-break', 1, { status: 200, text: /X-Injected/ }],
  ['huge', 1, { status: 200, text: /x{1000}/ }],
];
for (const [fault, issued, seen] of answered) {
  t.test(`token endpoint fault ${fault}: once, then as before`, async (t) => {
    const { token, sandbox } = await start(t, { switches: { tokenEndpoint: { fault, next: 1, bytes: 100_000 } } });
    t.match(await token(), seen);
    t.equal(sandbox.stats.tokensIssued, issued);
    t.match((await token()).body, { access_token: String });
    t.match(sandbox.stats.tokenRequests.client_credentials, { [`fault:${fault}`]: 1, ok: 1 });
  });
}

for (const [fault, issued] of [
  ['down', 0],
  ['lost', 1],
  ['cut', 1],
] as const) {
  t.test(`token endpoint fault ${fault}: the connection ends early, ${issued} token issued`, async (t) => {
    const { token, sandbox } = await start(t, { switches: { tokenEndpoint: { fault, next: 1 } } });
    await t.rejects(token());
    t.equal(sandbox.stats.tokensIssued, issued);
    t.equal((await token()).status, 200);
  });
}

t.test('token endpoint fault gzip compresses for clients that did not ask', async (t) => {
  const { origin } = await start(t, { switches: { tokenEndpoint: { fault: 'gzip' } } });
  const form = 'grant_type=client_credentials';
  const raw = await exchangeRaw(
    origin,
    `POST /oauth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ` +
      `${basic(clientCredentials)}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ` +
      `${form.length}\r\n\r\n${form}`,
  );
  t.match(raw, /Content-Encoding: gzip/);
  t.match(gunzipSync(Buffer.from(raw.slice(raw.indexOf('\r\n\r\n') + 4), 'latin1')).toString(), /"access_token"/);
});

t.test('token endpoint fault hang holds requests until they are released, then grants them', async (t) => {
  const { token, sandbox } = await start(t, { switches: { tokenEndpoint: { fault: 'hang' } } });
  const held = sandbox.events.next('held');
  const answer = token();
  t.match(await held, { kind: 'token', grant: 'client_credentials' });
  t.equal(sandbox.stats.tokensIssued, 0);
  t.equal(sandbox.stats.inFlight.token, 1);
  t.equal(sandbox.release(), 1);
  t.equal((await answer).status, 200);
});

t.test('a client that leaves while held is counted as gone, and nothing is issued', async (t) => {
  const { origin, sandbox } = await start(t, { switches: { tokenEndpoint: { fault: 'hang' } } });
  const leaving = new AbortController();
  const held = sandbox.events.next('held');
  const answer = fetch(`${origin}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
    signal: leaving.signal,
  });
  answer.catch(() => {});
  await held;
  const ended = sandbox.events.next('answer');
  leaving.abort();
  t.match(await ended, { kind: 'token', status: 0 });
  t.equal(sandbox.stats.tokensIssued, 0);
  t.equal(sandbox.stats.inFlight.token, 0);
  t.match(sandbox.stats.tokenRequests.client_credentials, { 'fault:gone': 1 });
});

t.test('Retry-After goes out as a date too', async (t) => {
  const { token } = await start(t, {
    switches: { tokenEndpoint: { fault: 'status', status: 503, retryAfterS: 20, retryAfterAs: 'date' } },
  });
  const { status, headers } = await token();
  t.equal(status, 503);
  t.equal(headers.get('retry-after'), 'Thu, 01 Jan 2026 00:00:20 GMT');
});
