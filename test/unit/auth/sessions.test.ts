import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Session } from '../../../src/auth/sessions/session.ts';
import { sessionCredential } from '../../../src/auth/sessions/session-config.ts';
import { createSessions, type SessionLimits } from '../../../src/auth/sessions/sessions.ts';
import { createFileStore } from '../../../src/auth/store/file.ts';
import { createMemoryStore } from '../../../src/auth/store/memory.ts';
import type { TokenStore } from '../../../src/auth/store/store.ts';
import { createToken } from '../../../src/auth/token.ts';
import type { TokenCall, TokenGrant } from '../../../src/auth/token-endpoint.ts';
import { TokenFailure } from '../../../src/auth/token-failure.ts';
import { Secret } from '../../../src/config/secret.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog, hostsAt } from '../../helpers/gateway.ts';

const TERMS = { client: 'crm', credential: null, clientId: 'app', secret: new Secret('app-secret') };
const HOUR = 60 * 60 * 1000;
const HOME = 'http://login.invalid';

function setUp(options: { clock?: FakeClock; store?: TokenStore; limits?: SessionLimits; lifeMs?: number } = {}) {
  const clock = options.clock ?? createFakeClock();
  const store = options.store ?? createMemoryStore({ clock });
  const calls: TokenCall[] = [];
  let count = 0;
  let refuse: TokenFailure | null = null;
  const grant = (): TokenGrant => {
    count += 1;
    const obtainedAt = clock.now();
    const token = createToken({ accessToken: new Secret(`token-${count}`), obtainedAt, expiresAt: obtainedAt + (options.lifeMs ?? HOUR) });
    return { token, refreshToken: new Secret(`refresh-${count}`) };
  };
  const sessions = createSessions({
    ...{ clock, store, random: () => 0, log: createTestLog() },
    ...(options.limits && { limits: options.limits }),
    endpoint: () => async (call) => {
      calls.push(call);
      if (refuse) throw refuse;
      return grant();
    },
    settings: () => ({ refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 }),
    credential: () => sessionCredential(hostsAt(HOME)),
  });
  t.teardown(() => sessions.close());
  return {
    ...{ clock, store, sessions, calls, grant },
    refuse(failure: TokenFailure | null) {
      refuse = failure;
    },
  };
}

t.test('a session renews itself ahead of its end, with the rotated refresh token and the application’s own secret', async (t) => {
  const { clock, sessions, calls, grant } = setUp();
  const { handle } = await sessions.open(TERMS, grant(), HOME);
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
    t.match(calls.at(-1)?.auth.headers, ['authorization', `Basic ${Buffer.from('app:app-secret').toString('base64')}`]);
    t.equal(sessions.find(handle)?.source.current()?.accessToken.reveal(), `token-${renewal + 1}`);
  }
});

t.test('an idle session is not renewed, and is gone', async (t) => {
  const { clock, sessions, calls, grant } = setUp({ limits: { max: 10, idleMs: 30 * 60_000 } });
  const { handle } = await sessions.open(TERMS, grant(), HOME);
  await clock.advance(3 * HOUR);
  t.equal(calls.length, 0);
  t.equal(sessions.find(handle), null);
  t.equal(sessions.size, 0);
});

t.test('looking whether a session is good is no use of it; one without a refresh token is good as long as its token', async (t) => {
  const { clock, sessions, grant } = setUp({ limits: { max: 10, idleMs: 2 * HOUR } });
  const kept = sessions.find((await sessions.open(TERMS, grant(), HOME)).handle) as Session;
  const short = sessions.find((await sessions.open(TERMS, { ...grant(), refreshToken: null }, HOME)).handle) as Session;
  t.ok(sessions.isGood(kept.terms) && sessions.isGood(short.terms));
  await clock.advance(HOUR);
  t.ok(sessions.isGood(kept.terms));
  t.notOk(sessions.isGood(short.terms));
  await clock.advance(HOUR + 1);
  t.notOk(sessions.isGood(kept.terms), 'idle for two hours, though it was looked at');
});

t.test('a session that nobody uses renews nothing and keeps no timer; its next caller gets a fresh token', async (t) => {
  const { clock, sessions, calls, grant } = setUp();
  const timers = clock.pending;
  const { handle } = await sessions.open(TERMS, grant(), HOME);
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
});

t.test('before the end, a renewal that is under way is waited for and stored', async (t) => {
  const clock = createFakeClock();
  const stored: (string | undefined)[] = [];
  const store: TokenStore = { ...createMemoryStore({ clock }), isDurable: true };
  const { sessions, grant } = setUp({
    clock,
    store: {
      ...store,
      async put(key, value, condition) {
        const version = await store.put(key, value, condition);
        stored.push(value.refreshToken?.reveal());
        return version;
      },
    },
  });
  const { handle } = await sessions.open(TERMS, grant(), HOME);
  sessions.find(handle)?.source.refresh().catch(t.error);
  await sessions.settled();
  t.same(stored, ['refresh-1', 'refresh-2']);
});

t.test('writes of one session follow each other: a slow one overtakes neither a renewal nor the end', async (t) => {
  const clock = createFakeClock();
  const memory: TokenStore = { ...createMemoryStore({ clock }), isDurable: true };
  let slow: Promise<void> | null = null;
  const store: TokenStore = {
    ...memory,
    async get(key) {
      const found = slow;
      slow = null;
      await found;
      return memory.get(key);
    },
  };
  const { sessions, grant } = setUp({ clock, store });
  const { handle } = await sessions.open(TERMS, grant(), HOME);
  let goOn = () => {};
  slow = new Promise((resolve) => (goOn = resolve));
  await clock.advance(61 * 60_000);
  sessions.find(handle)?.source.refresh().catch(t.error);
  await clock.settle();
  goOn();
  await sessions.settled();
  await clock.settle();
  const [name = ''] = await memory.list();
  const key = { name, clientId: '', host: '' };
  t.equal((await memory.get(key))?.value.refreshToken?.reveal(), 'refresh-2');

  slow = new Promise((resolve) => (goOn = resolve));
  await clock.advance(61 * 60_000);
  const session = sessions.find(handle);
  if (session) sessions.end(session);
  await clock.settle();
  goOn();
  await sessions.settled();
  await clock.settle();
  t.equal(await memory.get(key), null);
});

t.test('a token that has ended stays so while the session rests, though the wall clock is put back', async (t) => {
  const { clock, sessions, grant, refuse } = setUp();
  const { handle } = await sessions.open(TERMS, grant(), HOME);
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
  const { clock, sessions, refuse, grant } = setUp();
  const { handle, refreshHandle } = await sessions.open(TERMS, grant(), HOME);
  refuse(new TokenFailure('refused', 'revoked', { oauthError: 'invalid_grant' }));
  for (let passed = 0; passed < 57; passed += 3) {
    t.ok(sessions.find(handle));
    await clock.advance(3 * 60_000);
  }
  t.equal(sessions.find(handle)?.source.current()?.accessToken.reveal(), 'token-1', 'a valid token is used in every state');
  await clock.advance(4 * 60_000);
  const session = sessions.find(handle);
  t.ok(session);
  await t.rejects((session as Session).source.token(), { code: 'gateway.session.ended', statusCode: 401 });
  t.equal(sessions.find(handle), null);
  t.equal(sessions.findByRefreshHandle(refreshHandle ?? ''), null);
});

t.test('refreshes of one session, however many at once, are one upstream and yield one handle', async (t) => {
  const { sessions, calls, grant, clock } = setUp();
  const { handle, refreshHandle } = await sessions.open(TERMS, grant(), HOME);
  const found = Array.from({ length: 5 }, () => sessions.findByRefreshHandle(refreshHandle ?? ''));
  t.ok(found.every((one) => one?.handle === handle));
  const all = Promise.all(found.map((one) => one?.session.source.refresh()));
  await clock.advance(1000);
  await all;
  t.equal(calls.length, 1);
});

t.test('a client that logs in without end ends its own sessions, the one idle for longest first, and nobody else’s', async (t) => {
  const { sessions, grant } = setUp({ limits: { max: 10, idleMs: HOUR } });
  const quiet = await sessions.open({ ...TERMS, client: 'quiet' }, grant(), HOME);
  const anonymous = await sessions.open({ ...TERMS, client: null }, grant(), HOME);
  const noisy = [];
  for (let logins = 0; logins < 30; logins++) {
    noisy.push(await sessions.open({ ...TERMS, client: 'noisy' }, grant(), HOME));
    sessions.find((noisy[0] as { handle: string }).handle);
  }
  t.equal(sessions.size, 10);
  t.ok(sessions.find(quiet.handle) && sessions.find(anonymous.handle));
  const left = noisy.flatMap(({ handle }, at) => (sessions.find(handle) === null ? [] : [at]));
  t.same(left, [0, 23, 24, 25, 26, 27, 28, 29], 'the one that was used, and the newest');
});

t.test('a store on disk brings sessions back, sealed there, with the newest refresh token; ended and evicted ones stay away', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'gcg-sessions-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const clock = createFakeClock();
  const log = createTestLog();
  const open = () => createFileStore({ path, prefix: 'gcg', encryptionKey: null, clock, log });
  const before = setUp({ clock, store: open(), limits: { max: 2, idleMs: 24 * HOUR } });
  const evicted = await before.sessions.open(TERMS, before.grant(), HOME);
  const ended = await before.sessions.open({ ...TERMS, secret: 'credential' }, before.grant(), HOME);
  const kept = await before.sessions.open(TERMS, before.grant(), HOME);
  const inUse = before.sessions.find(kept.handle) as Session;
  await inUse.source.refresh();
  before.sessions.end(before.sessions.find(ended.handle) as Session);
  await before.sessions.settled();
  before.sessions.close();
  const files = readdirSync(path).map((name) => name + readFileSync(join(path, name), 'latin1'));
  for (const secret of ['token-', 'refresh-', 'app-secret', kept.handle, kept.refreshHandle ?? ''])
    t.notOk(files.join('\n').includes(secret), secret);

  const after = setUp({ clock, store: open() });
  await after.sessions.restore();
  t.equal(after.sessions.size, 1);
  t.equal(after.sessions.find(evicted.handle), null);
  t.equal(after.sessions.find(ended.handle), null);
  const session = after.sessions.find(kept.handle);
  t.match(session?.terms, { client: 'crm', clientId: 'app' });
  const newest = inUse.source.current()?.accessToken.reveal();
  t.equal(session?.source.current()?.accessToken.reveal(), newest);
  await session?.source.refresh();
  await after.sessions.settled();
  t.match(after.calls[0]?.form[1], ['refresh_token', newest?.replace('token', 'refresh')]);
});

t.test('a session that was idle for too long while the gateway was down is not brought back', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'gcg-sessions-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const clock = createFakeClock();
  const store = createFileStore({ path, prefix: 'gcg', encryptionKey: null, clock, log: createTestLog() });
  const limits = { max: 10, idleMs: 2 * HOUR };
  const before = setUp({ clock, store, limits });
  const { handle } = await before.sessions.open(TERMS, before.grant(), HOME);
  before.sessions.close();
  clock.stepWall(3 * HOUR);
  const after = setUp({ clock, store, limits });
  await after.sessions.restore();
  t.equal(after.sessions.find(handle), null);
});
