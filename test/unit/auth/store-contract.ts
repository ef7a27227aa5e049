// What every token store promises, as tests: run over memory, file and redis alike.

import t, { type Test } from 'tap';
import {
  endedToken,
  isEnded,
  type StoredToken,
  type StoreKey,
  type TokenStore,
} from '../../../src/auth/credentials/store/store.ts';
import { Secret } from '../../../src/secret.ts';

export const KEY: StoreKey = { name: 'crm', clientId: 'client-1', host: 'https://login.mypurecloud.de' };

/** A value to store; its tokens tell the generation. */
export function storedToken(generation: number, refreshToken = `canary-rt-${generation}`): StoredToken {
  return {
    accessToken: new Secret(`canary-at-${generation}`),
    refreshToken: new Secret(refreshToken),
    expiresAt: 2_000,
    obtainedAt: 1_000,
    initialFingerprint: null,
    generation,
  };
}

/** The refresh token that is stored. */
export const revealed = async (store: TokenStore, key = KEY) => (await store.get(key))?.value.refreshToken?.reveal();

/** Whether nothing is stored that anybody could use. */
async function isGone(store: TokenStore, key = KEY): Promise<boolean> {
  const entry = await store.get(key);
  return entry === null || isEnded(entry.value);
}

/** Makes stores that are empty; closes what it made when the test ends. */
export type MakeStore = (t: Test) => TokenStore | Promise<TokenStore>;

/** The tests, for one kind of store. */
export function testStoreContract(kind: string, make: MakeStore): void {
  t.test(`${kind} store: what is put is got, by its own key only`, async (t) => {
    const store = await make(t);
    await store.open();
    t.equal(await store.get(KEY), null);
    await store.put(KEY, { ...storedToken(1), initialFingerprint: 'abc' });
    const { generation, value } = (await store.get(KEY)) ?? {};
    t.match({ generation, value }, { generation: 1, value: { generation: 1, initialFingerprint: 'abc' } });
    // Times are moved to the clock of a shared store and back, and a round trip is taken off.
    for (const [at, stored] of [
      [value?.obtainedAt, 1_000],
      [value?.expiresAt, 2_000],
    ])
      t.ok(Math.abs((at ?? 0) - (stored ?? 0)) < 500, `${at}`);
    t.equal(await revealed(store), 'canary-rt-1');
    for (const other of [
      { ...KEY, name: 'erp' },
      { ...KEY, clientId: 'client-2' },
      { ...KEY, host: 'https://login.mypurecloud.ie' },
    ])
      t.equal(await store.get(other), null);
    t.strictSame(await store.list(), ['crm']);
    t.match(store.state(), { state: 'ok', error: null, unwritten: 0 });
  });

  t.test(`${kind} store: of two values the one of the higher generation counts, in any order`, async (t) => {
    const store = await make(t);
    t.equal((await store.put(KEY, storedToken(5))).generation, 5);
    const kept = await store.put(KEY, storedToken(4));
    t.equal(kept.generation, 5, 'it answers what counts');
    t.equal(kept.value.refreshToken?.reveal(), 'canary-rt-5');
    t.equal(kept.version, (await store.get(KEY))?.version);
    await store.put(KEY, storedToken(5, 'told-again'));
    t.equal(await revealed(store), 'told-again', 'an equal one is the same, told again');
    await store.put(KEY, storedToken(6));
    t.equal(await revealed(store), 'canary-rt-6');
  });

  t.test(`${kind} store: what is ended is gone, however often; a later generation begins anew`, async (t) => {
    const store = await make(t);
    await store.delete(KEY);
    await store.put(KEY, storedToken(1_000));
    await store.delete(KEY);
    await store.delete(KEY);
    t.equal(await isGone(store), true);
    const lock = await store.lock(KEY, 0);
    const entry = await lock.entry();
    const generation = await lock.begin(entry);
    if (store.isShared) t.ok(generation > 1_000);
    await store.put(KEY, storedToken(generation, 'anew'));
    await lock.release();
    t.equal(await revealed(store), 'anew');
    if (!store.isShared) return;
    await store.put(KEY, endedToken(generation + 1, 'seed'));
    t.match(await store.get(KEY), { value: { accessToken: null, refreshToken: null, initialFingerprint: 'seed' } });
    await store.put(KEY, storedToken(generation));
    t.equal(await isGone(store), true, 'what began before the end does not come back');
  });

  t.test(`${kind} store: a refusal is remembered with the token`, async (t) => {
    const store = await make(t);
    await store.put(KEY, { ...storedToken(1), isRefused: true });
    t.equal((await store.get(KEY))?.value.isRefused, true);
    await store.put(KEY, storedToken(2));
    t.equal((await store.get(KEY))?.value.isRefused ?? false, false);
  });

  t.test(`${kind} store: a replace that names an old version is refused, and generations go on`, async (t) => {
    const store = await make(t);
    const first = await store.replace(KEY, storedToken(0), { expectedVersion: null });
    const { generation = 0 } = (await store.get(KEY)) ?? {};
    await t.rejects(store.replace(KEY, storedToken(0), { expectedVersion: null }), { code: 'conflict' });
    const second = await store.replace(KEY, storedToken(0, 'second'), { expectedVersion: first });
    t.not(second, first);
    t.equal(second, (await store.get(KEY))?.version);
    t.ok(((await store.get(KEY))?.generation ?? 0) > generation);
    await t.rejects(store.replace(KEY, storedToken(0), { expectedVersion: first }), { code: 'conflict' });
    t.equal(await revealed(store), 'second');
  });

  t.test(`${kind} store: the lock is held by one at a time, and its fence ends with it`, async (t) => {
    const store = await make(t);
    const first = await store.lock(KEY, 0);
    await t.rejects(store.lock(KEY, 60), { code: 'locked' });
    const other = await store.lock({ ...KEY, name: 'erp' }, 0);
    await other.release();
    let isReleased = false;
    const second = store.lock(KEY, 5_000).then((lock) => {
      t.ok(isReleased);
      return lock;
    });
    isReleased = true;
    await first.release();
    const held = await second;
    const lost = { expectedVersion: null, fence: first.fence };
    await t.rejects(store.replace(KEY, storedToken(1), lost), { code: 'lock_lost' });
    await t.rejects(first.begin(null), { code: 'lock_lost' });
    await store.replace(KEY, storedToken(1), { expectedVersion: null, fence: held.fence });
    await first.release();
    await t.rejects(store.lock(KEY, 0), { code: 'locked' }, 'a second release of the first changes nothing');
    await held.release();
  });

  t.test(`${kind} store: the lock answers what is stored, and a generation above all that began before`, async (t) => {
    const store = await make(t);
    await store.put(KEY, storedToken(7));
    const lock = await store.lock(KEY, 0);
    const entry = await lock.entry();
    t.equal(entry?.value.refreshToken?.reveal(), 'canary-rt-7');
    const begun = await lock.begin(entry);
    t.ok(begun > 7);
    const far = begun + 1_000_000_000_000;
    await store.put(KEY, storedToken(far));
    await t.rejects(lock.begin(entry), { code: 'conflict' }, 'what was read is not what counts any more');
    t.equal(await lock.begin(await store.get(KEY)), far + 1, 'whatever any clock says');
    await lock.release();
  });

  t.test(`${kind} store: the revision changes with the entry`, async (t) => {
    const store = await make(t);
    const before = store.revision(KEY);
    await store.put(KEY, storedToken(1));
    const after = store.revision(KEY);
    t.not(after, before);
    t.equal(store.revision(KEY), after);
    await store.put(KEY, storedToken(2));
    t.not(store.revision(KEY), after);
  });
}
