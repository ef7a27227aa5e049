// Sessions and the store: what is written, in which order, and what a restart finds.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Session } from '../../../src/auth/callers/session.ts';
import type { SessionIndex } from '../../../src/auth/callers/session-index.ts';
import { FileStore } from '../../../src/auth/credentials/store/file.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { StoreError, type TokenStore } from '../../../src/auth/credentials/store/store.ts';
import { GatewayError } from '../../../src/errors.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog } from '../../helpers/gateway.ts';

import { HOUR, ISSUER, OWNER, setUpSessions } from './session-fixtures.ts';

t.test('before the end, a renewal that is under way is waited for and stored', async (t) => {
  const clock = createFakeClock();
  const stored: (string | undefined)[] = [];
  const store: TokenStore = { ...createMemoryStore({ clock }), isDurable: true };
  const { sessions, grant } = setUpSessions(t, {
    clock,
    store: {
      ...store,
      async replace(key, value, condition) {
        const version = await store.replace(key, value, condition);
        stored.push(value.refreshToken?.reveal());
        return version;
      },
    },
  });
  const { handle } = await sessions.open(OWNER, grant(), ISSUER);
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
  const { sessions, grant } = setUpSessions(t, { clock, store });
  const { handle } = await sessions.open(OWNER, grant(), ISSUER);
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
  if (session) await sessions.end(session);
  await clock.settle();
  goOn();
  await sessions.settled();
  await clock.settle();
  t.equal(await memory.get(key), null);
});

t.test(
  'a store on disk brings sessions back, sealed there, with the newest refresh token; ended and evicted ones stay away',
  async (t) => {
    const path = mkdtempSync(join(tmpdir(), 'gcg-sessions-'));
    t.teardown(() => rmSync(path, { recursive: true, force: true }));
    const clock = createFakeClock();
    const log = createTestLog();
    const open = () => new FileStore({ path, prefix: 'gcg', encryptionKey: null, clock, log });
    const before = setUpSessions(t, { clock, store: open(), limits: { max: 2, idleMs: 24 * HOUR } });
    const evicted = await before.sessions.open(OWNER, before.grant(), ISSUER);
    const ended = await before.sessions.open({ ...OWNER, secret: 'credential' }, before.grant(), ISSUER);
    const kept = await before.sessions.open(OWNER, before.grant(), ISSUER);
    const inUse = before.sessions.find(kept.handle) as Session;
    await inUse.source.refresh();
    await before.sessions.end(before.sessions.find(ended.handle) as Session);
    await before.sessions.settled();
    before.sessions.close();
    const files = readdirSync(path).map((name) => name + readFileSync(join(path, name), 'latin1'));
    for (const secret of ['token-', 'refresh-', 'app-secret', kept.handle, kept.refreshHandle ?? ''])
      t.notOk(files.join('\n').includes(secret), secret);

    const after = setUpSessions(t, { clock, store: open() });
    await after.sessions.restore();
    t.equal(after.sessions.size, 1);
    t.equal(after.sessions.find(evicted.handle), null);
    t.equal(after.sessions.find(ended.handle), null);
    const session = after.sessions.find(kept.handle);
    t.match(session?.owner, { client: 'crm', clientId: 'app' });
    const newest = inUse.source.current()?.accessToken.reveal();
    t.equal(session?.source.current()?.accessToken.reveal(), newest);
    await session?.source.refresh();
    await after.sessions.settled();
    t.match(after.calls[0]?.form[1], ['refresh_token', newest?.replace('token', 'refresh')]);
  },
);

t.test('a session that was idle for too long while the gateway was down is not brought back', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'gcg-sessions-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const clock = createFakeClock();
  const store = new FileStore({ path, prefix: 'gcg', encryptionKey: null, clock, log: createTestLog() });
  const limits = { max: 10, idleMs: 2 * HOUR };
  const before = setUpSessions(t, { clock, store, limits });
  const { handle } = await before.sessions.open(OWNER, before.grant(), ISSUER);
  before.sessions.close();
  clock.stepWall(3 * HOUR);
  const after = setUpSessions(t, { clock, store, limits });
  await after.sessions.restore();
  t.equal(after.sessions.find(handle), null);
});

t.test('a session that the store cannot forget is over, and its end is not confirmed', async (t) => {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  const store: TokenStore = {
    ...memory,
    isDurable: true,
    delete: () => Promise.reject(new StoreError('unwritable', 'no such disk')),
  };
  const { sessions, grant } = setUpSessions(t, { clock, store });
  const { handle } = await sessions.open(OWNER, grant(), ISSUER);
  await t.rejects(sessions.end(sessions.find(handle) as Session), { code: 'gateway.internal' });
  t.equal(sessions.find(handle), null);
});

t.test('a session that the store could not forget is forgotten as soon as it can be', async (t) => {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  let isFailing = true;
  const store: TokenStore = {
    ...memory,
    isDurable: true,
    delete: (key) => (isFailing ? Promise.reject(new StoreError('unwritable', 'no such disk')) : memory.delete(key)),
  };
  const { sessions, grant } = setUpSessions(t, { clock, store });
  const { handle } = await sessions.open(OWNER, grant(), ISSUER);
  await t.rejects(sessions.end(sessions.find(handle) as Session), { code: 'gateway.internal' });
  await clock.advance(10_000);
  t.equal((await memory.list()).length, 1, 'still there');
  isFailing = false;
  await clock.advance(60_000);
  t.same(await memory.list(), []);
});

t.test(
  'the user of a session is asked for until known, is kept over a restart, and then not asked for again',
  async (t) => {
    const clock = createFakeClock();
    const store = { ...createMemoryStore({ clock }), isDurable: true };
    let user: string | null = null;
    let asked = 0;
    const askUser = async () => {
      asked += 1;
      if (user === null) throw new GatewayError('gateway.upstream.unreachable', 'not now');
      return user;
    };
    const before = setUpSessions(t, { clock, store, askUser });
    const { handle } = await before.sessions.open(OWNER, before.grant(), ISSUER);
    t.equal(before.sessions.find(handle)?.tokens.user, undefined);
    t.equal(asked, 1, 'a session works without an answer');
    await before.sessions.settled();
    before.sessions.close();
    user = 'u-1';
    const later = setUpSessions(t, { clock, store, askUser });
    await later.sessions.restore();
    later.sessions.find(handle);
    await clock.advance(0);
    t.equal(later.sessions.find(handle)?.tokens.user, 'u-1', 'asked when it was in use again');
    await later.sessions.settled();
    later.sessions.close();
    const last = setUpSessions(t, { clock, store, askUser });
    await last.sessions.restore();
    t.equal(last.sessions.find(handle)?.tokens.user, 'u-1');
    t.equal(asked, 2);
  },
);

t.test('the token of a service has no user, and is not asked about again', async (t) => {
  let asked = 0;
  const askUser = async () => {
    asked += 1;
    return null;
  };
  const { sessions, grant, clock } = setUpSessions(t, { askUser });
  const { handle } = await sessions.open(OWNER, grant(), ISSUER);
  for (let hour = 0; hour < 3; hour += 1) {
    t.equal(sessions.find(handle)?.tokens.user ?? null, null);
    await clock.advance(HOUR / 2);
  }
  t.equal(asked, 1);
});

/** A store that instances share and the index of its sessions; what was written into either. `hold` is awaited first. */
function sharedStore(hold: () => Promise<void> = async () => {}) {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  const [noted, users]: [string[], unknown[]] = [[], []];
  const store: TokenStore = {
    ...memory,
    isDurable: true,
    isShared: true,
    async put(...args) {
      await hold();
      users.push(JSON.parse(args[1].accessToken?.reveal() ?? '{}').user);
      return memory.put(...args);
    },
  };
  const index: SessionIndex = {
    note: async (hash) => {
      noted.push(hash);
      return [];
    },
    removeSurplus: async () => {},
    remove: async () => {},
    of: async () => [],
    onGap: () => {},
  };
  return { noted, users, deps: { clock, store, index } };
}

t.test('that its user became known is stored, and is no use of a session', async (t) => {
  const { noted, users, deps } = sharedStore();
  const { sessions, grant } = setUpSessions(t, { ...deps, askUser: async () => 'u-1' });
  await sessions.open(OWNER, grant(), ISSUER);
  await deps.clock.advance(0);
  await sessions.settled();
  t.same(users, [undefined, 'u-1']);
  t.equal(noted.length, 1);
});

t.test('a session that ends while it is stored is not noted as one of all', async (t) => {
  const held: (() => void)[] = [];
  const { noted, users, deps } = sharedStore(() => new Promise((resolve) => held.push(resolve)));
  const { sessions, grant } = setUpSessions(t, deps);
  const opened = sessions.open(OWNER, grant(), ISSUER);
  await deps.clock.advance(0);
  const ended = sessions.endOf('crm');
  for (const letGo of held) letGo();
  await Promise.all([opened, ended]);
  t.equal(users.length, 1);
  t.same(noted, []);
});
