// The stored side of sessions that instances share, with a store in the test's hand: who is asked, how often, and what
// of an answer counts.

import t from 'tap';
import { SessionFetches } from '../../../src/auth/callers/session-fetches.ts';
import type { SessionIndex } from '../../../src/auth/callers/session-index.ts';
import { type StoredSession, sessionKey, storedOfSession } from '../../../src/auth/callers/session-store.ts';
import type { SharedSession } from '../../../src/auth/callers/shared-session.ts';
import { SharedSessions } from '../../../src/auth/callers/shared-sessions.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { endedToken, StoreError, type TokenStore } from '../../../src/auth/credentials/store/store.ts';
import { createToken } from '../../../src/auth/credentials/token-source.ts';
import { Secret } from '../../../src/secret.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { ISSUER, OWNER } from './session-fixtures.ts';

const HASH = 'h'.repeat(64);

function stored(clock: FakeClock, more: Partial<StoredSession> = {}, generation = 1): StoredSession {
  const obtainedAt = clock.now();
  const token = createToken({
    accessToken: new Secret(`at-${generation}`),
    obtainedAt,
    expiresAt: obtainedAt + 60_000,
  });
  const refreshToken = new Secret(`rt-${generation}`);
  return { hash: HASH, owner: OWNER, issuer: ISSUER, token, refreshToken, usedAt: 0, generation, ...more };
}

/** One instance's view of sessions over a store that it shares, which counts what is read. */
function setUp() {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  const asked = { reads: 0, isAway: false, onRead: () => {} };
  let isComplete = true;
  const store: TokenStore = {
    ...memory,
    isShared: true,
    isComplete: () => isComplete,
    async get(key) {
      asked.reads += 1;
      asked.onRead();
      if (asked.isAway) throw new StoreError('absent', 'away');
      return memory.get(key);
    },
  };
  const known = new Map<string, SharedSession>();
  const events: string[] = [];
  let endGap = () => {};
  const index: SessionIndex = {
    note: async () => [],
    removeSurplus: async () => {},
    remove: async () => {},
    of: async () => [],
    onGap: (listener) => (endGap = listener),
  };
  const sessions: SharedSessions = new SharedSessions({
    ...{ store, clock, index },
    limits: { max: 10, idleMs: 1_000_000 },
    table: {
      has: (hash) => known.has(hash),
      take({ hash, owner, issuer, token, refreshToken, generation = 0 }) {
        const parts = { owner: { ...owner, hash }, issuer, generation, tokens: { token, refreshToken } };
        const shared = sessions.share(parts, {
          onEnded: () => void events.push('ended'),
          onToken: (given) => void events.push(given.accessToken.reveal()),
        });
        known.set(hash, shared);
        return shared;
      },
    },
  });
  const put = (session: StoredSession) => memory.put(sessionKey(HASH), storedOfSession(session));
  return {
    ...{ clock, memory, asked, sessions, known, events, put },
    unsettle(value: boolean) {
      isComplete = !value;
      if (!value) endGap();
    },
  };
}

t.test('a session is asked for once, and what is nowhere is remembered; a gap forgets that', async (t) => {
  const { asked, sessions, known, put, clock, unsettle } = setUp();
  await Promise.all([1, 2, 3].map(() => sessions.fetch(HASH)));
  t.equal(asked.reads, 1);
  await sessions.fetch(HASH);
  t.match(sessions.missing(HASH), { code: 'gateway.session.ended' });
  t.equal(asked.reads, 1);
  await put(stored(clock));
  unsettle(false);
  await sessions.fetch(HASH);
  t.ok(known.has(HASH));
  await sessions.fetch(HASH);
  t.equal(asked.reads, 2, 'what is known is not asked for');
});

t.test('a store that is away, or may have forgotten, makes no handle an unknown one', async (t) => {
  const { asked, sessions, unsettle } = setUp();
  const away = { code: 'gateway.credential.unavailable', retryAfterMs: 1_000 };
  asked.isAway = true;
  await t.rejects(sessions.fetch(HASH), away);
  asked.isAway = false;
  unsettle(true);
  await t.rejects(sessions.fetch(HASH), away);
  t.match(sessions.missing(HASH), { name: 'SessionElsewhere' }, 'it is asked for again');
  unsettle(false);
  await sessions.fetch(HASH);
  t.match(sessions.missing(HASH), { code: 'gateway.session.ended' });
});

t.test('what is under the key of a session, and is none of it, makes none known', async (t) => {
  const { clock, memory, sessions, known, put } = setUp();
  const rows: [string, () => Promise<unknown>][] = [
    ['another session', () => put(stored(clock, { hash: 'x'.repeat(64) }, 2))],
    ['one that is over', () => put(stored(clock, { refreshToken: null, token: null }, 3))],
    ['an expired token, and no other', () => put(stored(clock, { refreshToken: null, token: expired(clock) }, 4))],
    ['something else', () => memory.put(sessionKey(HASH), { ...endedToken(5), accessToken: new Secret('{"a":1}') })],
    ['no JSON', () => memory.put(sessionKey(HASH), { ...endedToken(6), accessToken: new Secret('{') })],
    ['an end', () => memory.put(sessionKey(HASH), endedToken(7))],
  ];
  for (const [what, write] of rows) {
    await write();
    await clock.advance(61_000);
    await sessions.fetch(HASH);
    t.notOk(known.has(HASH), what);
  }
});

const expired = (clock: FakeClock) =>
  createToken({ accessToken: new Secret('old'), obtainedAt: 0, expiresAt: clock.now() - 1 });

t.test('what another instance stores is taken over by generation, and its end is noticed', async (t) => {
  const { clock, memory, asked, sessions, known, events, put } = setUp();
  await put(stored(clock, {}, 10));
  await sessions.fetch(HASH);
  await put(stored(clock, {}, 20));
  await clock.advance(0);
  t.same(events, ['at-20']);
  await known.get(HASH)?.reread();
  t.same(events, ['at-20'], 'the same once more is no news');
  // However many are told, one reading waits.
  const before = asked.reads;
  asked.isAway = true;
  for (let generation = 30; generation < 130; generation += 1) await put(stored(clock, {}, generation));
  asked.isAway = false;
  await clock.advance(0);
  t.ok(asked.reads - before <= 101);
  await known.get(HASH)?.reread();
  t.equal(events.at(-1), 'at-129');
  await memory.put(sessionKey(HASH), endedToken(200));
  await clock.advance(0);
  t.equal(events.at(-1), 'ended');
});

t.test('an end that is told while the answer is on its way is not missed', async (t) => {
  const { clock, memory, asked, sessions, events, put } = setUp();
  await put(stored(clock, {}, 10));
  let isFirst = true;
  const read = memory.get.bind(memory);
  asked.onRead = () => {
    if (!isFirst) return;
    isFirst = false;
    // After the store has looked, and before the answer is here.
    void read(sessionKey(HASH)).then(() => memory.put(sessionKey(HASH), endedToken(11)));
  };
  await sessions.fetch(HASH);
  await clock.advance(0);
  t.equal(events.at(-1), 'ended');
});

t.test('a hundred are asked for at once; the others wait for their turn, and too many are refused', async (t) => {
  const turns: (() => void)[] = [];
  const fetches = new SessionFetches(
    createFakeClock(),
    () => new Promise((resolve) => turns.push(() => resolve(false))),
  );
  const all = Array.from({ length: 10_100 }, (_, n) => fetches.fetch(String(n)));
  t.equal(turns.length, 100);
  await t.rejects(fetches.fetch('one more'), { code: 'gateway.credential.unavailable' });
  await t.resolves(Promise.race([fetches.fetch('1'), Promise.resolve()]), 'who waits already goes on waiting');
  while (turns.length > 0) {
    turns.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(all);
  t.ok(fetches.isMissed('10099'));
  t.notOk(fetches.isMissed('0'), 'the first of more than 10,000 is forgotten');
});
