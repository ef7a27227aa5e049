// Tokens through the whole gateway: many callers, outages, refusals and revocations. No call ever goes up without a
// valid token.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { fileSecret } from '../../src/secret.ts';
import { startBefore } from '../helpers/direct.ts';
import { credentialAt, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';
import { isRefusal } from '../helpers/refusal.ts';

// Most of these wait for the second that lies between two token requests: they wait side by side.
t.jobs = 8;
const side = { buffered: true };

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
const post = (body: string) =>
  `POST /api/v2/sandbox/sink HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ` +
  `${body.length}\r\n\r\n${body}`;
const call = async (port: number, request = GET) => parseAnswer(await exchangeRaw(port, request));
const source = ({ gateway }: TestGateway) => gateway.runtime().credentials.default()!.source;

/** What must hold after every test of this file. */
function noCallWithoutToken(t: Test, { sandbox }: TestGateway): void {
  const { unauthenticatedCalls, expiredTokenCalls } = sandbox.stats;
  t.strictSame(
    { unauthenticatedCalls, expiredTokenCalls },
    { unauthenticatedCalls: 0, expiredTokenCalls: 0 },
    'no call without a valid token',
  );
}

/** Wall and monotonic time that the test can move on, over real timers. */
function createShiftedClock() {
  let shift = 0;
  return {
    ...systemClock,
    now: () => systemClock.now() + shift,
    monotonic: () => systemClock.monotonic() + shift,
    shift: (ms: number) => {
      shift += ms;
    },
  };
}

for (const count of [1, 8, 100, 1000]) {
  t.test(`${count} callers at once with an expired token: one token request, none fails`, side, async (t) => {
    const clock = createShiftedClock();
    const pair = await startGateway(t, {
      clock,
      sandbox: { clock },
      // A busy machine may need longer for the thousand than calls may wait by default.
      config: {
        reauthentication: { refreshAccessToken: true, refreshTokenWaitMaxMs: 60_000 },
        timeouts: { connectMs: 60_000, tokenMs: 60_000, totalWaitMs: 60_000 },
      },
    });
    clock.shift(2 * 86_400_000);
    t.equal(source(pair).state().token, 'expired');
    pair.sandbox.resetStats();
    pair.sandbox.set({ tokenEndpoint: { fault: 'slow', delayMs: 50 } });
    const answers = await Promise.all(Array.from({ length: count }, () => call(pair.port)));
    t.equal(answers.filter(({ status }) => status === 200).length, count);
    t.equal(pair.sandbox.stats.tokenRequestsTotal, 1);
    t.equal(pair.sandbox.stats.apiCallsTotal, count);
    noCallWithoutToken(t, pair);
  });
}

t.test('while the token is valid nobody notices that the token endpoint is down', side, async (t) => {
  const clock = createShiftedClock();
  const pair = await startGateway(t, { clock, sandbox: { clock } });
  pair.sandbox.set({ tokenEndpoint: { fault: 'down' } });
  // Due, but valid for some minutes yet.
  clock.shift(86_400_000 - 120_000);
  const tried = pair.sandbox.events.next('answer', ({ kind }) => kind === 'token');
  t.equal((await call(pair.port)).status, 200);
  void source(pair)
    .refresh()
    .catch(() => {});
  await tried;
  const answers = await Promise.all(Array.from({ length: 20 }, () => call(pair.port)));
  t.ok(answers.every(({ status }) => status === 200));
  t.match(pair.log.exchanges.at(-1), { tokenWaitMs: 0, errorCode: null });
  noCallWithoutToken(t, pair);
});

for (const [name, fault] of [
  ['is down', { fault: 'down' }],
  ['fails', { fault: 'status', status: 500 }],
  ['answers nothing', { fault: 'empty' }],
  ['answers HTML', { fault: 'html' }],
  ['is throttled', { fault: 'status', status: 429, retryAfterS: 7 }],
  ['answers 20 MiB', { fault: 'huge' }],
  ['puts a line break into the token', { fault: 'line-break' }],
] as const) {
  t.test(
    `the token endpoint ${name} and there is no token: 503 with Retry-After, never 401, and it recovers by itself`,
    side,
    async (t) => {
      const config = { reauthentication: { refreshTokenWaitMaxMs: 300 } };
      const pair = await startGateway(t, {
        sandbox: { switches: { tokenEndpoint: fault } },
        config,
        awaitReady: false,
      });
      const received = await exchangeRaw(pair.port, GET);
      isRefusal(t, received, 503, 'gateway.credential.unavailable');
      t.match(headerOf(parseAnswer(received), 'Retry-After'), name === 'is throttled' ? /^[5-7]$/ : /^[1-9]\d*$/);
      t.equal(pair.sandbox.stats.apiCallsTotal, 0);
      if (name === 'is throttled') return;
      pair.sandbox.set({ tokenEndpoint: null });
      // Nobody asks meanwhile: the gateway tries again of its own accord.
      await pair.sandbox.events.next('answer', ({ kind, status }) => kind === 'token' && status === 200);
      t.equal((await call(pair.port)).status, 200);
      noCallWithoutToken(t, pair);
    },
  );
}

t.test('a token that has expired is not used while the token endpoint is down', side, async (t) => {
  const clock = createShiftedClock();
  const config = { reauthentication: { refreshTokenWaitMaxMs: 300 } };
  const pair = await startGateway(t, { clock, sandbox: { clock }, config });
  pair.sandbox.set({ tokenEndpoint: { fault: 'down' } });
  clock.shift(2 * 86_400_000);
  const answers = await Promise.all(Array.from({ length: 10 }, () => call(pair.port)));
  // 504 for who waited while the second attempt ran.
  for (const answer of answers)
    t.match(
      `${answer.status} ${headerOf(answer, 'X-Gateway-Error')}`,
      /^50[34] gateway\.credential\.(unavailable|timeout)$/,
    );
  t.equal(pair.sandbox.stats.apiCallsTotal, 0);
  t.equal((await call(pair.port, GET.replace('/api/v2/users', '/readyz'))).status, 503);
  noCallWithoutToken(t, pair);
});

t.test('a token endpoint that hangs is 504 when the wait ends, and no later', side, async (t) => {
  const pair = await startGateway(t, {
    sandbox: { switches: { tokenEndpoint: { fault: 'hang' } } },
    config: { reauthentication: { refreshAccessToken: true, refreshTokenWaitMaxMs: 200 } },
    awaitReady: false,
  });
  isRefusal(t, await exchangeRaw(pair.port, GET), 504, 'gateway.credential.timeout');
});

t.test('a refused credential is 424, and a mended secret file counts within a second', side, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-secret-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'secret');
  writeFileSync(path, 'mistaken-secret\n');
  const pair = await startGateway(t, {
    config: (origin) => ({ credentials: [credentialAt(origin, { clientSecret: fileSecret(path) })] }),
    awaitReady: false,
  });
  const received = await exchangeRaw(pair.port, GET);
  isRefusal(t, received, 424, 'gateway.credential.rejected');
  t.notMatch(received, /mistaken-secret|demo-secret/);
  isRefusal(t, await exchangeRaw(pair.port, GET), 424, 'gateway.credential.rejected');
  t.equal(pair.sandbox.stats.tokenRequestsTotal, 1, 'what was refused is not tried for every caller');
  const renewed = pair.sandbox.events.next('answer', ({ kind, status }) => kind === 'token' && status === 200);
  const mendedAt = performance.now();
  writeFileSync(path, `${DEMO_CLIENTS.clientCredentials.secret}\n`);
  await renewed;
  t.ok(
    performance.now() - mendedAt < 45_000,
    'seen at one of the next looks, a second apart, and not after the cool-down of a minute',
  );
  t.equal((await call(pair.port)).status, 200);
  noCallWithoutToken(t, pair);
});

for (const [name, request, status] of [
  ['a GET', GET, 200],
  ['a POST of 100 kB', post('x'.repeat(100_000)), 200],
  [
    'a chunked POST',
    `POST /api/v2/sandbox/sink HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: ` +
      `chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
    200,
  ],
] as const) {
  t.test(
    `a token revoked behind our back: ${name} is answered ${status} after one renewal and one replay`,
    side,
    async (t) => {
      const pair = await startGateway(t);
      pair.sandbox.revokeTokens(() => true);
      pair.sandbox.resetStats();
      const answer = parseAnswer(await exchangeRaw(pair.port, request, () => false));
      t.equal(answer.status, status);
      if (name.endsWith('100 kB')) t.match(JSON.parse(answer.body), { bytes: 100_000 }, 'the whole body, twice');
      t.match(pair.sandbox.stats, { tokenRequestsTotal: 1, apiCallsTotal: 2, unknownTokenCalls: 1 });
      t.match(await pair.log.nextExchange(), { status, attempts: 2, retryReasons: ['401'] });
      noCallWithoutToken(t, pair);
    },
  );
}

t.test('a token revoked behind our back: the 401 to a HEAD, which tells no reason, passes', side, async (t) => {
  const pair = await startGateway(t);
  pair.sandbox.revokeTokens(() => true);
  pair.sandbox.resetStats();
  const head = async () =>
    parseAnswer(
      await exchangeRaw(
        pair.port,
        'HEAD /api/v2/users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
        () => false,
      ),
    );
  t.equal((await head()).status, 401);
  t.equal(pair.sandbox.stats.tokenRequestsTotal, 0);
  t.equal((await call(pair.port)).status, 200);
  t.equal((await head()).status, 200);
  noCallWithoutToken(t, pair);
});

t.test('callers that wait for a first token ride out what passes within their wait', side, async (t) => {
  const pair = await startGateway(t, {
    sandbox: { switches: { tokenEndpoint: { fault: 'down', next: 1 } } },
    awaitReady: false,
  });
  const answers = await Promise.all(Array.from({ length: 20 }, () => call(pair.port)));
  t.equal(answers.filter(({ status }) => status === 200).length, 20);
  t.equal(pair.sandbox.stats.tokenRequestsTotal, 2);
  noCallWithoutToken(t, pair);
});

t.test('100 callers with a revoked token: one renewal, everybody is served', side, async (t) => {
  const pair = await startGateway(t);
  pair.sandbox.revokeTokens(() => true);
  pair.sandbox.resetStats();
  const answers = await Promise.all(Array.from({ length: 100 }, () => call(pair.port)));
  t.equal(answers.filter(({ status }) => status === 200).length, 100);
  t.equal(pair.sandbox.stats.tokenRequestsTotal, 1);
  noCallWithoutToken(t, pair);
});

t.test('a body too large to be kept: its 401 passes, the token is renewed for the next', side, async (t) => {
  const pair = await startGateway(t);
  pair.sandbox.revokeTokens(() => true);
  pair.sandbox.resetStats();
  const renewed = pair.sandbox.events.next('answer', ({ kind, status }) => kind === 'token' && status === 200);
  // The simulation answers before it has read the body: whether the gateway has taken too much by then is a matter of
  // timing.
  const answer = parseAnswer(await exchangeRaw(pair.port, post('x'.repeat(2_000_000))));
  t.ok([200, 401].includes(answer.status), `${answer.status}`);
  await renewed;
  t.equal((await call(pair.port)).status, 200);
  noCallWithoutToken(t, pair);
});

t.test('a stubborn 401 passes after one renewal, and the next ones untouched', side, async (t) => {
  const pair = await startGateway(t);
  pair.sandbox.set({ unauthorized: {} });
  pair.sandbox.resetStats();
  const answer = await call(pair.port);
  t.equal(answer.status, 401);
  t.equal(headerOf(answer, 'X-Gateway-Error'), undefined, "it is the platform's");
  t.match(JSON.parse(answer.body), { code: 'bad.credentials' });
  for (let index = 0; index < 5; index += 1) t.equal((await call(pair.port)).status, 401);
  t.equal(pair.sandbox.stats.tokenRequestsTotal, 1);
  t.equal(pair.sandbox.stats.apiCallsTotal, 7);
  pair.sandbox.set({ unauthorized: null });
  t.equal((await call(pair.port)).status, 200);
  t.equal(pair.sandbox.stats.tokenRequestsTotal, 1);
});

t.test('no status but 401 touches the token, even with a code that speaks of it, or with none', side, async (t) => {
  for (const status of [200, 400, 403, 404, 407, 409, 419, 429, 500, 502, 503, 504]) {
    for (const body of ['{"code":"bad.credentials"}', '']) {
      const answer = `HTTP/1.1 ${status} x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      const pair = await startBefore(t, (socket) => socket.write(answer), { rateLimit: { mode: 'off' } });
      await pair.gateway.runtime().credentials.default()?.source.token();
      const before = pair.gateway.runtime().credentials.default()?.source.state().renewals;
      t.equal((await call(pair.port)).status, status);
      t.match(
        [pair.requests.length, pair.gateway.runtime().credentials.default()?.source.state().renewals],
        [1, before],
        `${status} ${body}`,
      );
    }
  }
});

t.test('403, 404, 429 and 5xx never touch the token', side, async (t) => {
  const pair = await startGateway(t, { config: { retry: { max: 0 }, rateLimit: { mode: 'off' } } });
  pair.sandbox.resetStats();
  for (const status of [403, 404, 429, 500, 502, 503, 504]) {
    t.equal((await call(pair.port, GET.replace('users', `sandbox/status/${status}`))).status, status);
  }
  t.equal(pair.sandbox.stats.tokenRequestsTotal, 0);
  t.equal(source(pair).state().token, 'fresh');
});
