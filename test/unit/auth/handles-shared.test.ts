// Signed handles of several instances on one store that may be away and forget: with which key they are signed, and what
// is said of one that nobody can judge yet. The store is the test's; each instance has a view of its own.

import t from 'tap';
import type { ClientHandle } from '../../../src/auth/callers/client-handle.ts';
import { createHandles, type Handles } from '../../../src/auth/callers/handles.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { StoreError, type TokenStore } from '../../../src/auth/credentials/store/store.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog } from '../../helpers/gateway.ts';

const CONTENT = { client: 'crm', credential: null, authFingerprint: '0123456789ab' };
const KEY = { name: 'gateway-handle-key', clientId: '', host: '' };
const ENDED = { name: 'gateway-handle-revocations', clientId: '', host: '' };
const UNKNOWN = { code: 'gateway.credential.unavailable', statusCode: 503, retryAfterMs: 1_000 };

/** How an instance sees the store. */
interface View {
  isAway: boolean;
  isSettled: boolean;
  isYoung: boolean;
  isFull: boolean;
}

function setUp() {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  const viewOf = (view: View): TokenStore => ({
    ...memory,
    isShared: true,
    isDurable: true,
    isSettled: () => view.isSettled,
    isComplete: () => view.isSettled && !view.isYoung,
    get: (key) => (view.isAway ? Promise.reject(new StoreError('absent', 'not reached')) : memory.get(key)),
    replace: (...args) =>
      view.isFull ? Promise.reject(new StoreError('unwritable', 'it is full')) : memory.replace(...args),
  });
  return {
    clock,
    memory,
    /** One more instance, and its view. */
    async start(seen: Partial<View> = {}) {
      const view: View = { isAway: false, isSettled: true, isYoung: false, isFull: false, ...seen };
      const log = createTestLog();
      return { view, log, handles: await createHandles({ store: viewOf(view), clock, log }) };
    },
    /** The next look of an instance at what it could not read. */
    async again(handles: Handles) {
      await clock.advance(250);
      try {
        handles.issue(CONTENT);
      } catch {
        // It reads behind the call that was refused.
      }
      await clock.settle();
    },
    /** What the store held is gone. */
    async empty() {
      for (const key of [KEY, ENDED]) await memory.delete(key);
    },
  };
}

t.test('a signing key that may be lost is not made anew: others tell theirs, and nobody is told 401', async (t) => {
  const { memory, start, again, empty } = setUp();
  const old = await start();
  const kept = await memory.get(KEY);
  const token = old.handles.issue(CONTENT);
  old.view.isAway = true;
  await empty();

  const fresh = await start({ isAway: true, isSettled: false });
  t.throws(() => fresh.handles.find(token), UNKNOWN);
  fresh.view.isAway = false;
  await again(fresh.handles);
  t.throws(() => fresh.handles.issue(CONTENT), UNKNOWN, 'nothing is signed with a key that others do not have');
  t.throws(() => fresh.handles.find(token), UNKNOWN);
  t.equal(await memory.get(KEY), null);
  t.equal(fresh.log.lines.length, 1, 'that it waits is no error');

  old.view.isAway = false;
  await memory.replace(KEY, (kept as NonNullable<typeof kept>).value, { expectedVersion: null });
  fresh.view.isSettled = true;
  await again(fresh.handles);
  t.match(fresh.handles.find(token), CONTENT);
  t.match(old.handles.find(fresh.handles.issue(CONTENT)), CONTENT, 'there is one key');
});

t.test('a signing key that nobody has told again is made, and at a first start at once', async (t) => {
  const { start, again } = setUp();
  const waiting = await start({ isSettled: false });
  t.throws(() => waiting.handles.issue(CONTENT), UNKNOWN);
  waiting.view.isSettled = true;
  await again(waiting.handles);
  const token = waiting.handles.issue(CONTENT);
  t.match((await start()).handles.find(token), CONTENT);
  const first = setUp();
  t.ok((await first.start()).handles.issue(CONTENT));
});

t.test('a handle that no known key has signed is forged only where no other key can be told', async (t) => {
  const { start, again } = setUp();
  const elsewhere = (await setUp().start()).handles.issue(CONTENT);
  const { handles, view } = await start();
  const known = handles.issue(CONTENT);
  t.equal(handles.find(elsewhere), null);
  view.isSettled = false;
  t.throws(() => handles.find(elsewhere), UNKNOWN);
  t.match(handles.find(known), CONTENT, 'what is known goes on');
  view.isSettled = true;
  await again(handles);
  t.equal(handles.find(elsewhere), null);
});

t.test(
  'who starts at a store that was just emptied signs at once, and takes no handle of others for forged',
  async (t) => {
    const { memory, start, empty, clock } = setUp();
    const old = await start();
    const token = old.handles.issue(CONTENT);
    const kept = await memory.get(KEY);
    old.view.isAway = true;
    await empty();
    const fresh = await start({ isYoung: true });
    const made = fresh.handles.issue(CONTENT);
    t.match(fresh.handles.find(made), CONTENT);
    t.throws(() => fresh.handles.find(token), UNKNOWN);
    old.view.isAway = false;
    // The other one hears of a change.
    const stored = await memory.get(KEY);
    if (stored === null || kept === null) return t.fail('there is a key');
    await memory.replace(KEY, stored.value, { expectedVersion: stored.version });
    await clock.settle();
    t.match(fresh.handles.find(token), CONTENT);
    t.match(old.handles.find(made), CONTENT);
    fresh.view.isYoung = false;
    t.equal(fresh.handles.find((await setUp().start()).handles.issue(CONTENT)), null);
  },
);

t.test('a key that another has just stored is read before anybody is refused', async (t) => {
  const { memory, start, empty, clock } = setUp();
  const old = await start();
  await empty();
  const made = await start();
  await clock.settle();
  t.match(made.handles.find(old.handles.issue(CONTENT)), CONTENT);
  // One more is stored: the others are told, and have not read it yet.
  const stranger = setUp();
  const token = (await stranger.start()).handles.issue(CONTENT);
  const stored = await memory.get(KEY);
  const theirs = await stranger.memory.get(KEY);
  if (stored === null || theirs === null) return t.fail('there is a key');
  await memory.replace(KEY, theirs.value, { expectedVersion: stored.version });
  t.throws(() => made.handles.find(token), UNKNOWN);
  await clock.settle();
  t.match(made.handles.find(token), CONTENT);
});

t.test('of two that make a key at once the slower takes the key of the faster', async (t) => {
  const { memory, start } = setUp();
  const [one, other] = await Promise.all([start(), start()]);
  t.match(other.handles.find(one.handles.issue(CONTENT)), CONTENT);
  t.match(one.handles.find(other.handles.issue(CONTENT)), CONTENT);
  t.notMatch((await memory.get(KEY))?.value.accessToken?.reveal(), / /, 'there is one');
});

t.test('who holds another key than the store goes by both, also while it cannot store its own', async (t) => {
  const { start, empty, clock } = setUp();
  const old = await start();
  const before = old.handles.issue(CONTENT);
  old.view.isFull = true;
  await empty();
  const fresh = await start();
  const after = fresh.handles.issue(CONTENT);
  await clock.settle();
  t.match(old.handles.find(before), CONTENT, 'its own goes on');
  t.match(old.handles.find(after), CONTENT, 'and so does that of the store');
});

t.test('a list of ended handles that may be lost is not taken for an empty one', async (t) => {
  const { memory, start, again, empty } = setUp();
  const old = await start();
  const ended = old.handles.issue(CONTENT);
  const good = old.handles.issue(CONTENT);
  await old.handles.end(old.handles.find(ended) as ClientHandle);
  const list = (await memory.get(ENDED))?.value;
  if (list === undefined) return t.fail('there is a list');
  old.view.isAway = true;
  const key = (await memory.get(KEY))?.value;
  await empty();
  if (key === undefined) return t.fail('there is a key');
  await memory.replace(KEY, key, { expectedVersion: null });

  const fresh = await start({ isSettled: false });
  for (const token of [ended, good]) t.throws(() => fresh.handles.find(token), UNKNOWN, 'nobody can tell');
  await memory.replace(ENDED, list, { expectedVersion: null });
  await again(fresh.handles);
  t.equal(fresh.handles.find(ended), null, 'it was told again');
  t.match(fresh.handles.find(good), CONTENT);
});

t.test('a list of ended handles that nobody has told again is an empty one', async (t) => {
  const { start, again } = setUp();
  const token = (await start()).handles.issue(CONTENT);
  const fresh = await start({ isSettled: false });
  t.throws(() => fresh.handles.find(token), UNKNOWN);
  fresh.view.isSettled = true;
  await again(fresh.handles);
  t.match(fresh.handles.find(token), CONTENT);
});
