import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { type ClientHandle, HANDLE_LIFE_MS, signHandle } from '../../../src/auth/callers/client-handle.ts';
import type { Revocations } from '../../../src/auth/callers/handle-store.ts';
import { createHandles, deriveAnonymousKey, type Handles } from '../../../src/auth/callers/handles.ts';
import { FileStore } from '../../../src/auth/credentials/store/file.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { StoreError, type TokenStore } from '../../../src/auth/credentials/store/store.ts';
import { certificateFingerprint } from '../../../src/cert-subject.ts';
import { type Clock, systemClock } from '../../../src/clock.ts';
import type { GatewayError } from '../../../src/errors.ts';
import { inlineSecret, Secret } from '../../../src/secret.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog, credentialAt } from '../../helpers/gateway.ts';

const CONTENT = { client: 'crm', credential: null, authFingerprint: '0123456789ab' };

function keyFrom(secret: string, clientId = 'an-id') {
  return deriveAnonymousKey(
    credentialAt('http://login.invalid', { clientId, clientSecret: inlineSecret(secret, 'the test') }),
  );
}

function fileStoreIn(t: Test, clock = createFakeClock()) {
  const path = mkdtempSync(join(tmpdir(), 'gcg-handles-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const log = createTestLog();
  const openWith = (key: string | null) =>
    new FileStore({
      path,
      prefix: 'gcg',
      encryptionKey: key === null ? null : inlineSecret(key, 'the test'),
      clock,
      log,
    });
  return { clock, log, open: () => openWith(null), openWith };
}

t.test('a handle says what it was given for, and survives a restart with the store', async (t) => {
  const { clock, log, open } = fileStoreIn(t);
  const token = (await createHandles({ store: open(), clock, log })).issue(CONTENT);
  t.match((await createHandles({ store: open(), clock, log })).find(token), { ...CONTENT, issuedAt: clock.now() });
  const elsewhere = await createHandles({ store: createMemoryStore({ clock }), clock, log });
  t.equal(elsewhere.find(token), null, 'another key does not know it');
});

t.test(
  'without a durable store a handle of nobody survives by the key of a secret, and that key never makes a client',
  async (t) => {
    const clock = createFakeClock();
    const start = (anonymousKey: Secret | null) =>
      createHandles({ store: createMemoryStore({ clock }), clock, log: createTestLog(), anonymousKey });
    const anonymousKey = keyFrom('a'.repeat(43));
    const before = await start(anonymousKey);
    const [ofNobody, ofClient] = [
      before.issue({ client: null, credential: null, authFingerprint: null }),
      before.issue(CONTENT),
    ];
    t.ok(before.find(ofClient));
    const after = await start(keyFrom('a'.repeat(43)));
    t.match(after.find(ofNobody), { client: null, issuedAt: clock.now() });
    t.equal(after.find(ofClient), null);
    t.equal(
      after.find(signHandle({ ...CONTENT, issuedAt: clock.now() }, anonymousKey as Secret)),
      null,
      'signed with the key that can be made again',
    );
    for (const other of [keyFrom('b'.repeat(43)), keyFrom('a'.repeat(43), 'another-client'), null]) {
      t.equal((await start(other)).find(ofNobody), null);
    }
    t.equal(keyFrom('short'), null);
    t.equal(deriveAnonymousKey(undefined), null);
  },
);

t.test('a durable store has the only key', async (t) => {
  const { clock, log, open } = fileStoreIn(t);
  const anonymousKey = keyFrom('a'.repeat(43)) as Secret;
  const handles = await createHandles({ store: open(), clock, log, anonymousKey });
  t.equal(
    handles.find(
      signHandle({ client: null, credential: null, authFingerprint: null, issuedAt: clock.now() }, anonymousKey),
    ),
    null,
  );
});

t.test('two handles are never the same, and no name breaks out of one', async (t) => {
  const clock = createFakeClock();
  const handles = await createHandles({ store: createMemoryStore({ clock }), clock, log: createTestLog() });
  t.not(handles.issue(CONTENT), handles.issue(CONTENT));
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.option(fc.string()), (client, credential) => {
      const token = handles.issue({ client, credential, authFingerprint: null });
      const found = handles.find(token);
      return /^gcgh_c[\w-]+\.[\w-]{43}$/.test(token) && found?.client === client && found.credential === credential;
    }),
  );
});

t.test('no changed character of a handle is taken', async (t) => {
  const clock = createFakeClock();
  const handles = await createHandles({ store: createMemoryStore({ clock }), clock, log: createTestLog() });
  const token = handles.issue(CONTENT);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.';
  fc.assert(
    fc.property(fc.nat(token.length - 1), fc.constantFrom(...alphabet), (at, char) => {
      const changed = token.slice(0, at) + char + token.slice(at + 1);
      return changed === token || handles.find(changed) === null;
    }),
    { numRuns: 1000 },
  );
  t.ok(handles.find(token), 'the control');
});

t.test('an ended handle stays ended across a restart, and in another process at once or a second later', async (t) => {
  const { clock, log, open } = fileStoreIn(t);
  const one = await createHandles({ store: open(), clock, log });
  const other = await createHandles({ store: open(), clock, log });
  const ended = one.issue(CONTENT);
  const kept = one.issue(CONTENT);
  t.ok(other.find(ended));
  await one.end(one.find(ended) as never);
  t.equal(one.find(ended), null);
  await clock.advance(1000);
  other.find(kept);
  await new Promise<void>((resolve) => {
    const look = () => (other.find(ended) === null ? resolve() : setImmediate(look));
    look();
  });
  const restarted = await createHandles({ store: open(), clock, log });
  t.equal(restarted.find(ended), null);
  t.ok(restarted.find(kept));
});

t.test('a handle is good for 450 days and no longer', async (t) => {
  const clock = createFakeClock();
  const handles = await createHandles({ store: createMemoryStore({ clock }), clock, log: createTestLog() });
  const token = handles.issue(CONTENT);
  clock.stepWall(HANDLE_LIFE_MS - 1);
  t.ok(handles.find(token));
  clock.stepWall(1);
  t.equal(handles.find(token), null);
});

const ENDED = { name: 'gateway-handle-revocations', clientId: '', host: '' };

/** Puts a list into a store that has none. */
async function putEnded(store: TokenStore, owners: Revocations['owners']): Promise<void> {
  const accessToken = new Secret(JSON.stringify({ owners }));
  await store.replace(
    ENDED,
    { accessToken, refreshToken: null, expiresAt: 0, obtainedAt: 0, initialFingerprint: null, generation: 0 },
    { expectedVersion: null },
  );
}

/** Ends a handle made now, one second after the one before: a client may do that for ever. */
async function endOne(handles: Handles, clock: FakeClock, content: Parameters<Handles['issue']>[0]): Promise<string> {
  const token = handles.issue(content);
  await handles.end(handles.find(token) as ClientHandle);
  await clock.advance(1_000);
  return token;
}

t.test(
  'handles ended at the same moment stay ended, all of them, here and after a restart, whatever store there is',
  async (t) => {
    const inFile = fileStoreIn(t);
    const memory = createMemoryStore({ clock: inFile.clock });
    for (const [name, open] of [
      ['file', inFile.open],
      ['memory', () => memory],
    ] as const) {
      for (const content of [CONTENT, { ...CONTENT, client: null, authFingerprint: null }]) {
        const { clock, log } = inFile;
        const one = await createHandles({ store: open(), clock, log });
        const tokens = Array.from({ length: 40 }, () => one.issue(content));
        const kept = one.issue(content);
        await Promise.all(tokens.map((token) => one.end(one.find(token) as ClientHandle)));
        const restarted = await createHandles({ store: open(), clock, log });
        for (const [when, handles] of Object.entries({ 'at once': one, restarted })) {
          t.equal(
            tokens.filter((token) => handles.find(token) !== null).length,
            0,
            `${name}, ${content.client}, ${when}`,
          );
          t.ok(handles.find(kept));
        }
        clock.stepWall(1_000);
        await clock.advance(120_000);
      }
    }
  },
);

t.test('two processes over one store end handles at the same moment, and none is lost', async (t) => {
  // Waiting for the lock keeps the test alive, as a server would.
  const clock: Clock = {
    ...systemClock,
    after(delayMs, fn) {
      const timer = setTimeout(fn, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
  };
  const { log, open } = fileStoreIn(t, clock as FakeClock);
  const processes = [
    await createHandles({ store: open(), clock, log }),
    await createHandles({ store: open(), clock, log }),
  ];
  const tokens = Array.from({ length: 20 }, () => (processes[0] as Handles).issue(CONTENT));
  await Promise.all(
    tokens.map((token, at) =>
      (processes[at % 2] as Handles).end((processes[at % 2] as Handles).find(token) as ClientHandle),
    ),
  );
  const restarted = await createHandles({ store: open(), clock, log });
  t.equal(tokens.filter((token) => restarted.find(token) !== null).length, 0);
});

t.test(
  'however many handles a client ends, it ends no others, and those that are not ended are not said to be',
  async (t) => {
    const clock = createFakeClock();
    const store = createMemoryStore({ clock });
    const handles = await createHandles({ store, clock, log: createTestLog() });
    const others = [CONTENT, { ...CONTENT, client: 'ops' }, { ...CONTENT, client: null, authFingerprint: null }].map(
      (content) => handles.issue(content),
    );
    const attempt = async () => {
      const token = handles.issue(CONTENT);
      const error = await handles.end(handles.find(token) as ClientHandle).then(
        () => null,
        (thrown: GatewayError) => thrown,
      );
      t.equal(handles.find(token) === null, error === null, 'ended, or refused');
      return error;
    };
    const atOnce: (GatewayError | null)[] = [];
    for (let i = 0; i < 120; i++) atOnce.push(await attempt());
    t.equal(atOnce.filter((error) => error === null).length, 100);
    t.match(atOnce.at(-1), { code: 'gateway.rate.limited', retryAfterMs: 1_000 });
    for (const token of others) t.ok(handles.find(token), 'all the others are good');
  },
);

t.test(
  'what a certificate proved stays ended, however many handles those end who proved nothing, or have another ' +
    'certificate',
  async (t) => {
    const clock = createFakeClock();
    const store = createMemoryStore({ clock });
    const handles = await createHandles({ store, clock, log: createTestLog() });
    const end = async (authFingerprint: string | null) => {
      const token = handles.issue({ client: null, credential: null, authFingerprint });
      await handles.end(handles.find(token) as ClientHandle);
      return token;
    };
    const times = (count: number, authFingerprint: string | null) =>
      Promise.all(Array.from({ length: count }, () => end(authFingerprint)));
    const ended = await end(certificateFingerprint('CN=crm', ['ca']));
    await times(2_100, null);
    await times(100, certificateFingerprint('CN=other', ['ca']));
    await t.rejects(
      end(certificateFingerprint('CN=other', ['another ca'])),
      { code: 'gateway.rate.limited' },
      'one subject is one owner',
    );
    const restarted = await createHandles({ store, clock, log: createTestLog() });
    for (const each of [handles, restarted]) t.equal(each.find(ended), null);
  },
);

t.test('a client that has ended as many handles as can be kept is refused, and ends no others', async (t) => {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const before = await createHandles({ store, clock, log: createTestLog() });
  const tokens = Array.from({ length: 5_001 }, () => before.issue(CONTENT));
  const others = [CONTENT, { ...CONTENT, client: 'ops' }].map((content) => before.issue(content));
  const ids = Object.fromEntries(tokens.slice(0, 4_999).map((token) => [before.find(token)?.id ?? '', clock.now()]));
  await putEnded(store, { 'client crm': { notBefore: 0, ids } });
  const handles = await createHandles({ store, clock, log: createTestLog() });
  const [last, tooMany] = tokens.slice(4_999).map((token) => handles.find(token) as ClientHandle);
  await handles.end(last as ClientHandle);
  await t.rejects(handles.end(tooMany as ClientHandle), {
    code: 'gateway.rate.limited',
    message: /5000 handles.*secret is changed/,
  });
  t.ok(handles.isGood(tooMany as ClientHandle), 'it is not half ended');
  for (const token of others) t.ok(handles.find(token), 'all the others are good');
  await handles.end(handles.find(others[1] as string) as ClientHandle);
  const restarted = await createHandles({ store, clock, log: createTestLog() });
  t.equal(tokens.filter((token) => restarted.find(token) !== null).length, 1);
  clock.stepWall(HANDLE_LIFE_MS);
  await handles.end(handles.find(handles.issue(CONTENT)) as ClientHandle);
  t.pass('what is too old anyway makes room');
});

t.test(
  'however many handles anonymous callers end, nobody else pays for it; the first to end is forgotten',
  async (t) => {
    const clock = createFakeClock();
    const store = createMemoryStore({ clock });
    const anonymous = { ...CONTENT, client: null, authFingerprint: null };
    const handles = await createHandles({ store, clock, log: createTestLog() });
    const others = [handles.issue(anonymous), handles.issue(CONTENT)];
    const ended: string[] = [];
    for (let i = 0; i < 2_100; i++) ended.push(await endOne(handles, clock, anonymous));
    for (const known of [handles, await createHandles({ store, clock, log: createTestLog() })]) {
      for (const token of others) t.ok(known.find(token));
      t.equal(ended.slice(-2_000).filter((token) => known.find(token) !== null).length, 0, 'the last 2,000');
    }
  },
);

t.test('what version 0.1.0 ended by date stays ended', async (t) => {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const before = await createHandles({ store, clock, log: createTestLog() });
  const old = before.issue(CONTENT);
  const notBefore = clock.now();
  clock.stepWall(1);
  const young = before.issue(CONTENT);
  await putEnded(store, { 'client crm': { notBefore, ids: {} } });
  const handles = await createHandles({ store, clock, log: createTestLog() });
  t.equal(handles.find(old), null);
  t.ok(handles.find(young));
  await endOne(handles, clock, CONTENT);
  t.equal((await createHandles({ store, clock, log: createTestLog() })).find(old), null);
});

t.test('names of owners are no properties', async (t) => {
  const { clock, log, open } = fileStoreIn(t);
  const kept = await createHandles({ store: open(), clock, log });
  const [ended, good] = [kept.issue({ ...CONTENT, client: 'constructor' }), kept.issue(CONTENT)];
  await kept.end(kept.find(ended) as ClientHandle);
  const restarted = await createHandles({ store: open(), clock, log });
  t.equal(restarted.find(ended), null);
  t.ok(restarted.find(good));
});

t.test(
  'a store that fails costs the restart, not the start; an end that it cannot keep is not confirmed, and kept as ' +
    'soon as it can be',
  async (t) => {
    const clock = createFakeClock();
    const log = createTestLog();
    const memory = createMemoryStore({ clock });
    let isBroken = false;
    const store: TokenStore = {
      ...memory,
      get: (key) => (isBroken ? Promise.reject(new StoreError('unreadable', 'no such disk')) : memory.get(key)),
    };
    const handles = await createHandles({ store, clock, log });
    isBroken = true;
    t.ok((await createHandles({ store, clock, log })).issue(CONTENT));
    const token = handles.issue(CONTENT);
    const handle = handles.find(token) as ClientHandle;
    t.ok(handle);
    await t.rejects(handles.end(handle), { code: 'gateway.internal' });
    t.equal(handles.find(token), null, 'ended all the same');
    await t.rejects(handles.end(handle), { code: 'gateway.internal' }, 'asked again, it is still not kept');
    t.match(
      log.lines.map(({ level, msg }) => `${level} ${msg}`),
      [
        'error handle key cannot be kept',
        'error handle revocation cannot be kept',
        'error handle revocation cannot be kept',
      ],
    );
    isBroken = false;
    await clock.advance(2_000);
    await handles.end(handle);
    const stored = await memory.get(ENDED);
    t.match(stored?.value.accessToken?.reveal(), handle.id, 'written without being asked');
  },
);

t.test(
  'where the key of the handles cannot be read, they end with the process, and ending one is confirmed',
  async (t) => {
    const { clock, log, open, openWith } = fileStoreIn(t);
    const before = await createHandles({ store: open(), clock, log });
    const old = before.issue(CONTENT);
    const ended = before.issue(CONTENT);
    await before.end(before.find(ended) as ClientHandle);
    const changed = openWith('b'.repeat(64));
    const handles = await createHandles({ store: changed, clock, log });
    t.equal(handles.find(old), null);
    const [token, other] = [handles.issue(CONTENT), handles.issue(CONTENT)];
    await handles.end(handles.find(token) as ClientHandle);
    t.equal(handles.find(token), null);
    t.ok(handles.find(other));
    const next = await createHandles({ store: changed, clock, log });
    for (const each of [old, ended, token, other]) t.equal(next.find(each), null, 'another process knows none of them');
    t.match(
      log.lines.find(({ msg }) => msg === 'handle key cannot be kept'),
      { level: 'error', fields: { error: /remove this file/, advice: /end with this process/ } },
    );
    const restored = await createHandles({ store: open(), clock, log });
    t.ok(restored.find(old), 'the key of before, given back, makes all as it was');
    t.equal(restored.find(ended), null);
  },
);
