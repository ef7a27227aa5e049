import t from 'tap';
import {
  basicAuth,
  createTokenEndpoint,
  type TokenRequestOutcome,
} from '../../../src/auth/credentials/token-endpoint.ts';
import type { TokenFailure } from '../../../src/auth/credentials/token-source.ts';
import { GatewayError } from '../../../src/errors.ts';
import { inlineSecret } from '../../../src/secret.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import {
  createLogRecorder,
  granted,
  HOSTS,
  type ScriptedReply,
  type SentRequest,
  scriptedTransport,
} from './fixtures.ts';

const CALL = {
  credential: 'crm',
  grant: 'client_credentials',
  hosts: HOSTS,
  auth: basicAuth('an-id', inlineSecret('canary-basic', 'gcg.ini:4')),
  form: [['grant_type', 'client_credentials']],
} as const;

function endpointUnderTest(reply: ScriptedReply | ((request: SentRequest) => ScriptedReply | Promise<ScriptedReply>)) {
  const clock = createFakeClock();
  const log = createLogRecorder();
  const outcomes: TokenRequestOutcome[] = [];
  const { transport, requests } = scriptedTransport([reply]);
  const endpoint = createTokenEndpoint({
    transport,
    clock,
    log,
    timeoutMs: 4_000,
    onTokenRequest: (outcome) => outcomes.push(outcome),
  });
  return {
    clock,
    log,
    outcomes,
    requests,
    ask: () => endpoint(CALL),
    failure: () =>
      endpoint(CALL).then(
        () => 'no failure',
        (error: TokenFailure) => error,
      ),
  };
}

t.test('a good reply is a token whose life counts from when it was asked for', async (t) => {
  const subject = endpointUnderTest(async () => {
    await new Promise<void>((resolve) => subject.clock.after(1_500, resolve));
    return granted('at-1', { expires_in: 300, refresh_token: 'rt-1' });
  });
  const asked = subject.clock.now();
  const answer = subject.ask();
  await subject.clock.advance(1_500);
  const { token, refreshToken } = await answer;
  t.equal(token.authorization, 'Bearer at-1');
  t.equal(token.obtainedAt, asked + 1_500);
  t.equal(token.expiresAt, asked + 300_000);
  t.equal(refreshToken?.reveal(), 'rt-1');
  t.strictSame(subject.outcomes, [
    {
      credential: 'crm',
      grant: 'client_credentials',
      url: 'https://login.mypurecloud.de/oauth/token',
      statusCode: 200,
      startedAt: 0,
      durationMs: 1_500,
      result: 'success',
      tokenFingerprint: token.fingerprint,
    },
  ]);
  t.match(subject.requests[0], {
    url: 'https://login.mypurecloud.de/oauth/token',
    timeoutMs: 4_000,
    maxBodyBytes: 65_536,
  });
});

t.test('what is sent is told apart from what the platform gave', async (t) => {
  const told: string[] = [];
  const { transport } = scriptedTransport([granted('at-1', { refresh_token: 'rt-2' })]);
  const onSecret = (value: string, origin: string) => told.push(`${origin} ${value}`);
  const endpoint = createTokenEndpoint({
    transport,
    clock: createFakeClock(),
    log: createLogRecorder(),
    timeoutMs: 4_000,
    onSecret,
  });
  const auth = { kind: 'public', formFields: [['client_secret', 'own']] } as const;
  await endpoint({ ...CALL, auth, form: [...CALL.form, ['refresh_token', 'rt-1']] });
  t.strictSame(told, ['sent rt-1', 'sent own', 'received at-1', 'received rt-2']);
});

t.test('a token printed by mistake shows no secret', async (t) => {
  const { token } = await endpointUnderTest(granted('canary-at')).ask();
  const { inspect } = await import('node:util');
  t.notMatch(`${JSON.stringify(token)} ${inspect(token)} ${inspect({ ...token })}`, 'canary-at');
  t.match(JSON.stringify(token), token.fingerprint, 'the positive control: it does print');
});

t.test('an endpoint that never answers is given up at the deadline', async (t) => {
  const subject = endpointUnderTest(() => new Promise(() => undefined));
  const failing = subject.failure();
  await subject.clock.advance(4_000);
  t.match(await failing, {
    kind: 'transient',
    error: { code: 'gateway.credential.unavailable', statusCode: 503 },
    message: /did not answer within 4 s/,
  });
});

const throttled = (description: string) => ({
  statusCode: 400,
  body: { error: 'invalid_request', description, error_description: description },
});
const verdicts: [string, ScriptedReply, object][] = [
  ['an empty 200', { body: '' }, { kind: 'transient', message: /empty body/ }],
  ['an HTML 200', { body: '<html>login</html>' }, { kind: 'transient', message: /not a JSON object/ }],
  ['a 200 with an array', { body: '[]' }, { kind: 'transient' }],
  ['a 200 with null', { body: 'null' }, { kind: 'transient' }],
  [
    'a 200 that is not UTF-8',
    { body: { access_token: 'a' }, headers: { 'content-encoding': 'gzip' } },
    { kind: 'transient', message: /compressed/ },
  ],
  [
    'a 200 larger than 64 KiB',
    { body: { access_token: 'a', pad: 'x'.repeat(65_536) } },
    { kind: 'transient', message: /too large/ },
  ],
  ['a 200 without access_token', { body: { token_type: 'bearer' } }, { kind: 'transient', message: /no access_token/ }],
  ['an access_token with a line break', granted('a\r\nX-Evil: 1'), { kind: 'transient', message: /cannot be sent/ }],
  ['an access_token with a space', granted('a b'), { kind: 'transient' }],
  ['an access_token beyond 16 KiB', granted('a'.repeat(16_385)), { kind: 'transient' }],
  ['an access_token beyond ASCII', granted('tökén'), { kind: 'transient' }],
  ['a token_type of mac', granted('a', { token_type: 'mac' }), { kind: 'transient', message: /bearer/ }],
  ['expires_in of zero', granted('a', { expires_in: 0 }), { kind: 'transient', message: /expired/ }],
  ['a negative expires_in', granted('a', { expires_in: -1 }), { kind: 'transient' }],
  ['500', { statusCode: 500 }, { kind: 'transient' }],
  [
    '503 with Retry-After in seconds',
    { statusCode: 503, headers: { 'retry-after': '17' } },
    { kind: 'transient', retryAfterMs: 17_000 },
  ],
  [
    '429 with Retry-After as a date',
    { statusCode: 429, headers: { 'retry-after': 'Thu, 01 Jan 2026 00:01:30 GMT' } },
    { kind: 'transient', retryAfterMs: 90_000, message: /throttles/ },
  ],
  [
    'a Retry-After of a day',
    { statusCode: 429, headers: { 'retry-after': '86400' } },
    { kind: 'transient', retryAfterMs: 3_600_000 },
  ],
  [
    '400 that means throttled',
    throttled('rate limit exceeded; try in 5 s'),
    { kind: 'transient', message: /throttles/ },
  ],
  ['408', { statusCode: 408 }, { kind: 'transient' }],
  ['a redirect', { statusCode: 302, headers: { location: 'https://portal/' } }, { kind: 'transient', message: /302/ }],
  [
    '400 invalid_request of another kind',
    throttled('missing grant_type'),
    { kind: 'refused', oauthError: 'invalid_request' },
  ],
  [
    'client not found',
    { statusCode: 400, body: { error: 'invalid_client', description: 'client not found: x' } },
    {
      kind: 'refused',
      message: /^client not found: wrong client id, or wrong region \(mypurecloud\.de\); the client id is not a UUID/,
      error: { statusCode: 424 },
    },
  ],
  [
    'authentication failed',
    { statusCode: 401, body: { error: 'invalid_client' } },
    { kind: 'refused', message: /client secret/ },
  ],
  [
    'unauthorized_client',
    { statusCode: 400, body: { error: 'unauthorized_client' } },
    { kind: 'refused', message: /may not use the grant client_credentials/ },
  ],
  [
    'invalid_grant',
    { statusCode: 400, body: { error: 'invalid_grant' } },
    { kind: 'refused', oauthError: 'invalid_grant' },
  ],
  [
    '403 with HTML',
    { statusCode: 403, body: '<html>blocked</html>' },
    { kind: 'refused', oauthError: 'other', message: /403/ },
  ],
  ['404', { statusCode: 404, body: 'null' }, { kind: 'refused' }],
];
for (const [what, reply, expected] of verdicts) {
  t.test(`${what} is ${(expected as { kind: string }).kind}`, async (t) => {
    const subject = endpointUnderTest(reply);
    t.match(await subject.failure(), expected);
    t.equal(subject.log.records.length, 1, 'one record a request');
    t.match(subject.log.records[0], {
      level: 'warn',
      msg: 'token request',
      fields: { status: reply.statusCode ?? 200 },
    });
  });
}

const networkFailures: [string, Error, RegExp][] = [
  [
    'an untrusted certificate',
    new GatewayError('gateway.upstream.tls', 'self-signed'),
    /token endpoint login\.mypurecloud\.de cannot be reached: self-signed/,
  ],
  [
    'a refused connection',
    new GatewayError('gateway.upstream.unreachable', 'connection refused'),
    /cannot be reached: connection refused/,
  ],
  [
    'a corporate proxy that asks for a password',
    new GatewayError('gateway.proxy.auth', 'proxy wants credentials'),
    /proxy wants credentials/,
  ],
  [
    'an error that is not ours',
    Object.assign(new Error('canary-body'), { code: 'ECONNRESET' }),
    /cannot be reached \(ECONNRESET\)/,
  ],
];
for (const [what, thrown, message] of networkFailures) {
  t.test(`${what} is transient and 503`, async (t) => {
    const subject = endpointUnderTest(() => Promise.reject(thrown));
    t.match(await subject.failure(), {
      kind: 'transient',
      message,
      error: { code: 'gateway.credential.unavailable', statusCode: 503 },
    });
  });
}

t.test('no message or record quotes the body, the secret or the token', async (t) => {
  const body = {
    error: 'canary-error',
    description: 'canary-description',
    error_description: 'canary-text',
    access_token: 'canary at',
  };
  for (const reply of [
    { statusCode: 400, body },
    { statusCode: 500, body },
    { body },
    { statusCode: 200, body: '"canary' },
    granted('canary-good'),
  ]) {
    const subject = endpointUnderTest(reply);
    const outcome = await subject.failure();
    const seen =
      `${JSON.stringify(subject.log.records)} ` +
      `${outcome instanceof Error ? `${outcome.message} ${outcome.stack} ${String(outcome.cause)}` : ''}`;
    t.notMatch(seen, /canary/);
    t.match(seen, 'token request', 'the positive control: there is a record');
  }
});
