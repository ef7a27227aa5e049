import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { deriveAnonymousKey } from '../../../src/auth/handles/anonymous-key.ts';
import { signHandle } from '../../../src/auth/handles/client-handle.ts';
import { createHandles, HANDLE_LIFE_MS } from '../../../src/auth/handles/handles.ts';
import { createFileStore } from '../../../src/auth/store/file.ts';
import { createMemoryStore } from '../../../src/auth/store/memory.ts';
import { StoreError } from '../../../src/auth/store/store.ts';
import type { Secret } from '../../../src/config/secret.ts';
import { inlineSecret } from '../../../src/config/secret-source.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog, credentialAt } from '../../helpers/gateway.ts';

const CONTENT = { client: 'crm', credential: null, proof: '0123456789ab' };

function keyFrom(secret: string, clientId = 'an-id') {
  return deriveAnonymousKey(credentialAt('http://login.invalid', { clientId, clientSecret: inlineSecret(secret, 'the test') }));
}

function fileStoreIn(t: Test, clock = createFakeClock()) {
  const path = mkdtempSync(join(tmpdir(), 'gcg-handles-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const log = createTestLog();
  return { clock, log, open: () => createFileStore({ path, prefix: 'gcg', encryptionKey: null, clock, log }) };
}

t.test('a handle says what it was given for, and survives a restart with the store', async (t) => {
  const { clock, log, open } = fileStoreIn(t);
  const token = (await createHandles({ store: open(), clock, log })).issue(CONTENT);
  t.match((await createHandles({ store: open(), clock, log })).find(token), { ...CONTENT, issuedAt: clock.now() });
  const elsewhere = await createHandles({ store: createMemoryStore({ clock }), clock, log });
  t.equal(elsewhere.find(token), null, 'another key does not know it');
});

t.test('without a durable store a handle of nobody survives by the key of a secret, and that key never makes a client', async (t) => {
  const clock = createFakeClock();
  const start = (anonymousKey: Secret | null) => createHandles({ store: createMemoryStore({ clock }), clock, log: createTestLog(), anonymousKey });
  const anonymousKey = keyFrom('a'.repeat(43));
  const before = await start(anonymousKey);
  const [ofNobody, ofClient] = [before.issue({ client: null, credential: null, proof: null }), before.issue(CONTENT)];
  t.ok(before.find(ofClient));
  const after = await start(keyFrom('a'.repeat(43)));
  t.match(after.find(ofNobody), { client: null, issuedAt: clock.now() });
  t.equal(after.find(ofClient), null);
  t.equal(after.find(signHandle({ ...CONTENT, issuedAt: clock.now() }, anonymousKey as Secret)), null, 'signed with the key that can be made again');
  for (const other of [keyFrom('b'.repeat(43)), keyFrom('a'.repeat(43), 'another-client'), null]) {
    t.equal((await start(other)).find(ofNobody), null);
  }
  t.equal(keyFrom('short'), null);
  t.equal(deriveAnonymousKey(undefined), null);
});

t.test('a durable store has the only key', async (t) => {
  const { clock, log, open } = fileStoreIn(t);
  const anonymousKey = keyFrom('a'.repeat(43)) as Secret;
  const handles = await createHandles({ store: open(), clock, log, anonymousKey });
  t.equal(handles.find(signHandle({ client: null, credential: null, proof: null, issuedAt: clock.now() }, anonymousKey)), null);
});

t.test('two handles are never the same, and no name breaks out of one', async (t) => {
  const clock = createFakeClock();
  const handles = await createHandles({ store: createMemoryStore({ clock }), clock, log: createTestLog() });
  t.not(handles.issue(CONTENT), handles.issue(CONTENT));
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.option(fc.string()), (client, credential) => {
      const token = handles.issue({ client, credential, proof: null });
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

t.test('too many ended handles end the oldest ones with them, never bring one back', async (t) => {
  const clock = createFakeClock();
  const handles = await createHandles({ store: createMemoryStore({ clock }), clock, log: createTestLog() });
  const tokens: string[] = [];
  for (let i = 0; i < 2_100; i++) {
    clock.stepWall(1);
    tokens.push(handles.issue(CONTENT));
  }
  const [bystander, ...ended] = tokens as [string, ...string[]];
  for (const token of ended) {
    const handle = handles.find(token);
    if (handle) await handles.end(handle);
  }
  for (const token of ended) if (handles.find(token) !== null) t.fail('an ended handle is good again');
  t.equal(handles.find(bystander), null, 'the oldest pays for it');
  clock.stepWall(1);
  t.ok(handles.find(handles.issue(CONTENT)), 'new ones are good');
});

t.test("however many handles one owner ends, another's stay, also in another process", async (t) => {
  const { clock, log, open } = fileStoreIn(t);
  const store = createMemoryStore({ clock });
  const handles = await createHandles({ store, clock, log });
  const others = [handles.issue({ ...CONTENT, client: 'ops' }), handles.issue({ ...CONTENT, client: null, proof: null })];
  for (let i = 0; i < 2_100; i++) {
    clock.stepWall(1);
    await handles.end(handles.find(handles.issue(CONTENT)) as never);
  }
  for (const token of others) t.ok(handles.find(token));
  for (const token of others) t.ok((await createHandles({ store, clock, log })).find(token));
  const kept = await createHandles({ store: open(), clock, log });
  const [ended, good] = [kept.issue({ ...CONTENT, client: 'constructor' }), kept.issue(CONTENT)];
  await kept.end(kept.find(ended) as never);
  const restarted = await createHandles({ store: open(), clock, log });
  t.equal(restarted.find(ended), null);
  t.ok(restarted.find(good));
});

t.test('a store that fails costs the restart, not the start', async (t) => {
  const clock = createFakeClock();
  const log = createTestLog();
  const broken = { ...createMemoryStore({ clock }), get: () => Promise.reject(new StoreError('unreadable', 'no such disk')) };
  const handles = await createHandles({ store: broken, clock, log });
  const token = handles.issue(CONTENT);
  t.ok(handles.find(token));
  await handles.end(handles.find(token) as never);
  t.equal(handles.find(token), null, 'ended all the same');
  t.match(log.lines, [
    { level: 'error', msg: 'handle key cannot be kept' },
    { level: 'error', msg: 'handle revocation cannot be kept' },
  ]);
});
