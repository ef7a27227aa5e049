// One process's sessions: found, renewed, bounded, ended.

import t from 'tap';
import type { Session } from '../../../src/auth/callers/session.ts';
import { type Token, TokenFailure } from '../../../src/auth/credentials/token-source.ts';
import { HOUR, ISSUER, OWNER, setUpSessions } from './session-fixtures.ts';

t.test(
  'a session renews itself ahead of its end, with the rotated refresh token and the application’s own secret',
  async (t) => {
    const { clock, sessions, calls, grant } = setUpSessions(t);
    const { handle } = await sessions.open(OWNER, grant(), ISSUER);
    for (let renewal = 1; renewal <= 3; renewal++) {
      // Somebody uses it now and then.
      for (let passed = 0; passed < 56; passed += 4) {
        sessions.find(handle);
        await clock.advance(4 * 60_000);
      }
      t.equal(calls.length, renewal);
      t.same(calls.at(-1)?.form, [
        ['grant_type', 'refresh_token'],
        ['refresh_token', `refresh-${renewal}`],
      ]);
      const auth = calls.at(-1)?.auth;
      t.match(auth, { kind: 'basic', clientId: 'app' });
      t.equal(auth?.kind === 'basic' && auth.secret.read().reveal(), 'app-secret');
      t.equal(sessions.find(handle)?.source.current()?.accessToken.reveal(), `token-${renewal + 1}`);
    }
  },
);

t.test('an idle session is not renewed, and is gone', async (t) => {
  const { clock, sessions, calls, grant } = setUpSessions(t, { limits: { max: 10, idleMs: 30 * 60_000 } });
  const { handle } = await sessions.open(OWNER, grant(), ISSUER);
  await clock.advance(3 * HOUR);
  t.equal(calls.length, 0);
  t.equal(sessions.find(handle), null);
  t.equal(sessions.size, 0);
});

t.test(
  'looking whether a session is good is no use of it; one without a refresh token is good as long as its token',
  async (t) => {
    const { clock, sessions, grant } = setUpSessions(t, { limits: { max: 10, idleMs: 2 * HOUR } });
    const kept = sessions.find((await sessions.open(OWNER, grant(), ISSUER)).handle) as Session;
    const short = sessions.find(
      (await sessions.open(OWNER, { ...grant(), refreshToken: null }, ISSUER)).handle,
    ) as Session;
    t.ok(sessions.isGood(kept.owner) && sessions.isGood(short.owner));
    await clock.advance(HOUR);
    t.ok(sessions.isGood(kept.owner));
    t.notOk(sessions.isGood(short.owner));
    await clock.advance(HOUR + 1);
    t.notOk(sessions.isGood(kept.owner), 'idle for two hours, though it was looked at');
  },
);

t.test(
  'a session that nobody uses renews nothing and keeps no timer; its next caller gets a fresh token',
  async (t) => {
    const { clock, sessions, calls, grant } = setUpSessions(t);
    const timers = clock.pending;
    const { handle } = await sessions.open(OWNER, grant(), ISSUER);
    t.equal(clock.pending, timers, 'none for a session that was never used');
    t.ok(sessions.find(handle));
    t.equal(clock.pending, timers + 1);
    await clock.advance(3 * HOUR);
    t.equal(clock.pending, timers);
    t.equal(calls.length, 0);
    const session = sessions.find(handle);
    t.equal(session?.source.current(), null);
    const token = session?.source.token();
    await clock.advance(1000);
    t.equal((await token)?.accessToken.reveal(), 'token-2');
    t.equal(calls.length, 1);
  },
);

t.test('a token that has ended stays so while the session rests, though the wall clock is put back', async (t) => {
  const { clock, sessions, grant, refuse } = setUpSessions(t);
  const { handle } = await sessions.open(OWNER, grant(), ISSUER);
  sessions.find(handle);
  await clock.advance(30 * 60_000);
  clock.stepWall(-2 * HOUR);
  await clock.advance(20 * 60_000);
  refuse(new TokenFailure('transient', 'down'));
  t.equal(sessions.find(handle)?.source.current()?.accessToken.reveal(), 'token-1');
  await clock.advance(10 * 60_000);
  t.equal(sessions.find(handle)?.source.current(), null);
  await clock.advance(30 * 60_000);
  refuse(null);
  const session = sessions.find(handle);
  t.equal(session?.source.current(), null, 'nor is it taken up again');
  t.equal((await session?.source.token())?.accessToken.reveal(), 'token-2');
});

t.test('a refused renewal ends the session once its token is over, not before', async (t) => {
  const { clock, sessions, refuse, grant } = setUpSessions(t);
  const { handle, refreshHandle } = await sessions.open(OWNER, grant(), ISSUER);
  refuse(new TokenFailure('refused', 'revoked', { oauthError: 'invalid_grant' }));
  for (let passed = 0; passed < 57; passed += 3) {
    t.ok(sessions.find(handle));
    await clock.advance(3 * 60_000);
  }
  t.equal(
    sessions.find(handle)?.source.current()?.accessToken.reveal(),
    'token-1',
    'a valid token is used in every state',
  );
  await clock.advance(4 * 60_000);
  const session = sessions.find(handle);
  t.ok(session);
  await t.rejects((session as Session).source.token(), { code: 'gateway.session.ended', statusCode: 401 });
  t.equal(sessions.find(handle), null);
  t.equal(sessions.findByRefreshHandle(refreshHandle ?? ''), null);
});

t.test('one call that is refused ends no session, unless the platform refuses its renewal as well', async (t) => {
  for (const [refreshes, isRevoked, isAlive] of [
    [true, false, true],
    [true, true, false],
    [false, false, true],
  ] as const) {
    const { clock, sessions, refuse, grant } = setUpSessions(t);
    const { handle } = await sessions.open(OWNER, { ...grant(), ...(!refreshes && { refreshToken: null }) }, ISSUER);
    const { source } = sessions.find(handle) as Session;
    const token = source.current() as Token;
    refuse(
      isRevoked
        ? new TokenFailure('refused', 'revoked', { oauthError: 'invalid_grant' })
        : new TokenFailure('transient', 'down'),
    );
    await clock.advance(2_000);
    t.equal(source.invalidate(token, '/api/v2/users'), true);
    const refused = source.successor(token, 500).catch(({ code }) => code);
    await clock.advance(500);
    t.equal(await refused, refreshes && !isRevoked ? 'gateway.credential.unavailable' : 'gateway.session.ended');
    t.equal(sessions.find(handle)?.source.current() ?? null, isAlive ? token : null);
  }
});

t.test('refreshes of one session, however many at once, are one upstream and yield one handle', async (t) => {
  const { sessions, calls, grant, clock } = setUpSessions(t);
  const { handle, refreshHandle } = await sessions.open(OWNER, grant(), ISSUER);
  const found = Array.from({ length: 5 }, () => sessions.findByRefreshHandle(refreshHandle ?? ''));
  t.ok(found.every((one) => one?.handle === handle));
  const all = Promise.all(found.map((one) => one?.session.source.refresh()));
  await clock.advance(1000);
  await all;
  t.equal(calls.length, 1);
});

t.test(
  'a client that logs in without end ends its own sessions, the one idle for longest first, and nobody else’s',
  async (t) => {
    const { sessions, grant } = setUpSessions(t, { limits: { max: 10, idleMs: HOUR } });
    const quiet = await sessions.open({ ...OWNER, client: 'quiet' }, grant(), ISSUER);
    const anonymous = await sessions.open({ ...OWNER, client: null }, grant(), ISSUER);
    const noisy = [];
    for (let logins = 0; logins < 30; logins++) {
      noisy.push(await sessions.open({ ...OWNER, client: 'noisy' }, grant(), ISSUER));
      sessions.find((noisy[0] as { handle: string }).handle);
    }
    t.equal(sessions.size, 10);
    t.ok(sessions.find(quiet.handle) && sessions.find(anonymous.handle));
    const left = noisy.flatMap(({ handle }, at) => (sessions.find(handle) === null ? [] : [at]));
    t.same(left, [0, 23, 24, 25, 26, 27, 28, 29], 'the one that was used, and the newest');
  },
);

t.test('a session in use follows the settings of reauthentication', async (t) => {
  const { clock, sessions, calls, grant, reconfigure } = setUpSessions(t);
  const { handle } = await sessions.open(OWNER, grant(), ISSUER);
  const use = async (minutes: number) => {
    for (let passed = 0; passed < minutes; passed += 4) {
      sessions.find(handle);
      await clock.advance(4 * 60_000);
    }
  };
  await use(4);
  reconfigure({ refreshAccessToken: false, refreshTokenWaitMaxMs: 10_000 });
  await use(64);
  t.equal(calls.length, 0, 'nothing renews itself any more');
  const { source } = sessions.find(handle)!;
  await t.rejects(source.token(), { code: 'gateway.session.ended' });
  await source.refresh();
  t.equal(calls.length, 1, 'but the application may');
});

t.test(
  'an application that refreshes in a loop asks the platform once a second, and not at all while that is down',
  async (t) => {
    const { clock, sessions, calls, grant, refuse } = setUpSessions(t);
    const { refreshHandle } = await sessions.open(OWNER, grant(), ISSUER);
    const ends: (string | undefined)[] = [];
    const loop = async (rounds: number) => {
      for (let n = 0; n < rounds; n += 1) {
        const { source } = sessions.findByRefreshHandle(refreshHandle ?? '')!.session;
        await source.refresh().then(
          () => ends.push(undefined),
          ({ code }) => ends.push(code),
        );
      }
    };
    const looping = loop(5);
    await clock.advance(2_500);
    t.ok(calls.length <= 3, `${calls.length} in 2.5 s`);
    await clock.advance(5_000);
    await looping;
    t.same(ends, Array(5).fill(undefined));
    const before = calls.length;
    refuse(new TokenFailure('transient', 'down', { retryAfterMs: 60_000 }));
    await Promise.all([loop(5), clock.advance(1_000)]);
    t.same(ends.slice(5), Array(5).fill('gateway.credential.unavailable'));
    t.equal(calls.length, before + 1);
  },
);
