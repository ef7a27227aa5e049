import t from 'tap';
import { RefreshTokenSource } from '../../../src/auth/credentials/refresh-token-source.ts';
import { RefreshingTokenSource } from '../../../src/auth/credentials/refreshing-source.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { StoreError, type TokenStore } from '../../../src/auth/credentials/store/store.ts';
import type { TokenGrant } from '../../../src/auth/credentials/token-endpoint.ts';
import { TokenFailure } from '../../../src/auth/credentials/token-source.ts';
import { inlineSecret, Secret, type SecretSource } from '../../../src/secret.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { createLogRecorder, tokenFor } from './fixtures.ts';

const KEY = { name: 'crm', clientId: 'client-1', host: 'https://login.mypurecloud.de' };
const HOUR_MS = 3_600_000;
const invalidGrant = () => new TokenFailure('refused', 'used up', { oauthError: 'invalid_grant' });

/** An authorization server that rotates refresh tokens: only the last one given is good. */
function rotatingServer(clock: FakeClock, first = 'rt-0') {
  let good = first;
  const seen: string[] = [];
  const server = {
    seen,
    isRotating: true,
    failNext: null as Error | null,
    beforeAnswer: async () => {},
    async refresh(refreshToken: Secret): Promise<TokenGrant> {
      seen.push(refreshToken.reveal());
      if (server.failNext !== null) {
        const failure = server.failNext;
        server.failNext = null;
        throw failure;
      }
      if (refreshToken.reveal() !== good) throw invalidGrant();
      if (server.isRotating) good = `rt-${seen.length}`;
      await server.beforeAnswer();
      return { token: tokenFor(clock, HOUR_MS), refreshToken: server.isRotating ? new Secret(good) : null };
    },
  };
  return server;
}

function sourceOver(
  store: TokenStore,
  clock: FakeClock,
  server: ReturnType<typeof rotatingServer>,
  initialRefreshToken: SecretSource | null = inlineSecret('rt-0', 'test'),
) {
  const log = createLogRecorder();
  const user = new RefreshTokenSource({
    name: 'crm',
    store,
    key: KEY,
    refresh: server.refresh,
    initialRefreshToken,
    advice: 'run `gcg login crm`',
    clock,
    log,
  });
  const settings = { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 };
  const source = new RefreshingTokenSource({
    name: 'crm',
    acquire: (request) => user.acquire(request),
    revision: () => user.revision(),
    storeError: () => user.storeError(),
    clock,
    random: () => 0,
    settings,
    log,
  });
  return { user, source, log };
}

function setUp(initialRefreshToken?: SecretSource | null) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const server = rotatingServer(clock);
  return { clock, store, server, ...sourceOver(store, clock, server, initialRefreshToken) };
}

const storedRefreshToken = async (store: TokenStore) => (await store.get(KEY))?.value.refreshToken?.reveal();

t.test('a rotated refresh token replaces the old one and is used next', async (t) => {
  const { source, server, store, clock } = setUp();
  await source.token();
  t.equal(await storedRefreshToken(store), 'rt-1');
  await clock.advance(HOUR_MS);
  t.strictSame(server.seen, ['rt-0', 'rt-1']);
  t.equal(source.state().token, 'fresh');
});

t.test('a rotated refresh token is stored before anybody gets the access token', async (t) => {
  const { clock, store, server } = setUp();
  const order: string[] = [];
  const slow: TokenStore = {
    ...store,
    async put(...parts) {
      await new Promise<void>((resolve) => clock.after(500, resolve));
      order.push('stored');
      return store.put(...parts);
    },
  };
  const { source } = sourceOver(slow, clock, server);
  const waiting = source.token().then(() => order.push('given'));
  await clock.advance(500);
  await waiting;
  t.strictSame(order, ['stored', 'given']);
});

t.test('a reply without a refresh token keeps the old one', async (t) => {
  const { source, server, store, clock } = setUp();
  server.isRotating = false;
  await source.token();
  await clock.advance(HOUR_MS);
  t.equal(await storedRefreshToken(store), 'rt-0');
  t.strictSame(server.seen, ['rt-0', 'rt-0']);
});

t.test('a transient failure never deletes the refresh token', async (t) => {
  const { source, server, store, clock } = setUp();
  await source.token();
  server.failNext = new TokenFailure('transient', 'down');
  await source.refresh().catch(() => undefined);
  t.equal(await storedRefreshToken(store), 'rt-1');
  await clock.advance(10_000);
  t.strictSame(server.seen, ['rt-0', 'rt-1', 'rt-1']);
  t.match(source.state(), { token: 'fresh', renewal: 'idle' });
});

t.test('a refused client does not delete the refresh token either', async (t) => {
  const { source, server, store } = setUp();
  await source.token();
  server.failNext = new TokenFailure('refused', 'wrong secret', { oauthError: 'invalid_client' });
  await t.rejects(source.refresh(), { code: 'gateway.credential.rejected' });
  t.equal(await storedRefreshToken(store), 'rt-1');
});

t.test('nobody logged in is 424 with the command and the page', async (t) => {
  const { source, server } = setUp(null);
  await t.rejects(source.token(), { code: 'gateway.login.required', message: /nobody logged in.*gcg login crm/ });
  t.equal(server.seen.length, 0);
});

t.test('a refused refresh token with an unchanged store asks for a login, and stays stored', async (t) => {
  const { source, store } = setUp(inlineSecret('rt-wrong', 'test'));
  await t.rejects(source.token(), {
    code: 'gateway.login.required',
    message: /used up, revoked or too old.*gcg login crm/,
  });
  t.equal(source.state().renewal, 'login_required');
  t.equal(await storedRefreshToken(store), undefined, 'what was configured is not copied before it worked');
});

t.test('a lost race: invalid_grant, but somebody stored a newer token: that one is used', async (t) => {
  const { source, server, store, clock } = setUp();
  await source.token();
  await clock.advance(10_000);
  const version = (await store.get(KEY))?.version ?? null;
  const theirs = {
    ...tokenFor(clock, HOUR_MS, 'theirs'),
    refreshToken: new Secret('rt-theirs'),
    initialFingerprint: new Secret('rt-0').fingerprint(),
    generation: 2,
  };
  const original = server.refresh;
  server.refresh = async (refreshToken) => {
    await store.replace(KEY, theirs, { expectedVersion: version });
    server.seen.push(refreshToken.reveal());
    throw invalidGrant();
  };
  const { source: racing } = sourceOver(store, clock, server);
  racing.accept(tokenFor(clock, HOUR_MS, 'held'));
  t.equal((await racing.refresh()).authorization, 'Bearer theirs');
  server.refresh = original;
  t.equal(await storedRefreshToken(store), 'rt-theirs');
});

t.test(
  'the refresh token is read inside the lock: two sources over one store refresh in turn, and rotation breaks neither',
  async (t) => {
    const { clock, store, server } = setUp();
    server.beforeAnswer = () => new Promise<void>((resolve) => clock.after(300, resolve));
    const one = sourceOver(store, clock, server).source;
    const two = sourceOver(store, clock, server).source;
    const both = Promise.all([one.token(), two.token()]);
    await clock.advance(2_000);
    const [first, second] = await both;
    t.equal(first.authorization, second.authorization, 'the second takes over what the first has just stored');
    t.strictSame(server.seen, ['rt-0']);
  },
);

t.test('a restart goes on with the stored token and asks for nothing', async (t) => {
  const { source, clock, store, server } = setUp();
  const token = await source.token();
  await clock.advance(60_000);
  const { source: restarted } = sourceOver(store, clock, server);
  t.equal((await restarted.token()).authorization, token.authorization);
  t.equal(server.seen.length, 1);
});

t.test('a restart after the access token has ended uses the stored refresh token', async (t) => {
  const { source, clock, store, server } = setUp();
  await source.token();
  source.close();
  await clock.advance(2 * HOUR_MS);
  const { source: restarted } = sourceOver(store, clock, server);
  await restarted.token();
  t.strictSame(server.seen, ['rt-0', 'rt-1']);
});

t.test('another process logging in ends login_required within a second', async (t) => {
  const { source, clock, store } = setUp(null);
  await source.token().catch(() => undefined);
  await clock.advance(5_000);
  const value = {
    ...tokenFor(clock, HOUR_MS, 'theirs'),
    refreshToken: new Secret('rt-x'),
    initialFingerprint: null,
    generation: 1,
  };
  await store.replace(KEY, value, { expectedVersion: null });
  await clock.advance(1_000);
  t.equal(source.current()?.authorization, 'Bearer theirs');
});

t.test('our own writes are not mistaken for somebody else’s', async (t) => {
  const { source, server, clock } = setUp();
  await source.token();
  await clock.advance(60_000);
  t.equal(server.seen.length, 1);
});

t.test('a refresh token configured anew begins a new chain; the one already used up does not come back', async (t) => {
  const { source, clock, store, server } = setUp();
  await source.token();
  source.close();
  await clock.advance(2 * HOUR_MS);
  const { source: same } = sourceOver(store, clock, server);
  await same.token();
  t.equal(server.seen.at(-1), 'rt-1', 'the configured one was used before');
  same.close();
  const fresh = rotatingServer(clock, 'rt-new');
  const { source: changed } = sourceOver(store, clock, fresh, inlineSecret('rt-new', 'test'));
  await changed.token();
  t.strictSame(fresh.seen, ['rt-new']);
});

t.test(
  'a store that cannot be written: the token is used, the failure is said once and shown, and the write is tried again',
  async (t) => {
    const { clock, store, server } = setUp();
    let isBroken = true;
    const flaky: TokenStore = {
      ...store,
      async put(...parts) {
        if (isBroken) throw new StoreError('unwritable', '/x cannot be written (ENOSPC)');
        return store.put(...parts);
      },
    };
    const { source, log } = sourceOver(flaky, clock, server);
    const token = await source.token();
    t.ok(token);
    t.equal(source.state().storeError, '/x cannot be written (ENOSPC)');
    await clock.advance(20_000);
    t.equal(log.records.filter(({ level }) => level === 'error').length, 1);
    await source.refresh();
    t.strictSame(server.seen, ['rt-0', 'rt-1'], 'the rotated token in memory is the one that is used');
    isBroken = false;
    await clock.advance(60_000);
    t.equal(await storedRefreshToken(store), 'rt-2');
    t.equal(source.state().storeError, null);
  },
);

t.test('a store that cannot be read is 503, not a demand for a login', async (t) => {
  const { clock, store, server } = setUp();
  const broken: TokenStore = {
    ...store,
    async get() {
      throw new StoreError('unreadable', '/x cannot be read (EIO)');
    },
  };
  const { source } = sourceOver(broken, clock, server, null);
  await t.rejects(source.token(500), { code: 'gateway.credential.unavailable', message: /EIO/ });
});

t.test('a damaged record asks for a login and says why', async (t) => {
  const { clock, store, server } = setUp();
  const damaged: TokenStore = {
    ...store,
    async get() {
      throw new StoreError('damaged', '/x was changed; it is kept as /x.damaged');
    },
  };
  const { source } = sourceOver(damaged, clock, server, null);
  await t.rejects(source.token(), { code: 'gateway.login.required', message: /kept as \/x\.damaged/ });
});

t.test('a lock held by another process for too long is 503 and mends itself', async (t) => {
  const { clock, store, source } = setUp();
  const lock = await store.lock(KEY, 0);
  const waiting = source.token();
  waiting.catch(() => undefined);
  await clock.advance(10_000);
  await t.rejects(waiting, { code: /gateway\.credential\.(unavailable|timeout)/ });
  await lock.release();
  await clock.advance(5_000);
  t.equal(source.state().token, 'fresh');
});

t.test('a lock that was lost while the token was fetched: what began last counts, whatever came first', async (t) => {
  for (const [generation, counts] of [
    [-1, 'rt-1'],
    [1, 'rt-theirs'],
  ] as const) {
    const { clock, store, server, source, log } = setUp();
    server.beforeAnswer = async () => {
      const theirs = { ...tokenFor(clock, HOUR_MS), refreshToken: new Secret('rt-theirs'), initialFingerprint: null };
      await store.put(KEY, { ...theirs, generation: clock.now() + generation });
    };
    t.ok(await source.token());
    t.equal(await storedRefreshToken(store), counts);
    t.equal(log.records.filter(({ level }) => level === 'warn').length, generation === 1 ? 1 : 0);
  }
});

t.test('logout forgets what is stored, also behind a refresh that runs', async (t) => {
  const { clock, store, server, source, user } = setUp();
  server.beforeAnswer = () => new Promise<void>((resolve) => clock.after(300, resolve));
  source.start();
  await clock.advance(100);
  const forgetting = user.forget();
  await clock.advance(300);
  await forgetting;
  t.equal(await store.get(KEY), null);
});
