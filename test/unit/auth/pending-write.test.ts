// Tokens that the store would not take, and stores whose times are wrong: what is newest is what the platform gave
// last.

import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createCredentials } from '../../../src/auth/credentials/credentials.ts';
import { FileStore } from '../../../src/auth/credentials/store/file.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { StoreError, type TokenStore } from '../../../src/auth/credentials/store/store.ts';
import { TokenRecord } from '../../../src/auth/credentials/token-record.ts';
import type { CredentialConfig, GatewayConfig } from '../../../src/config/gateway-config.ts';
import { fileSecret, inlineSecret, Secret } from '../../../src/secret.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { createLogRecorder, credentialConfig, granted, HOSTS, scriptedTransport } from './fixtures.ts';
import { storedToken } from './store-contract.ts';

const KEY = { name: 'crm', clientId: 'client-1', host: HOSTS.login.origin };

/** A store that can be read, and written as long as `isWritable`. */
function moody(clock: FakeClock) {
  const store = createMemoryStore({ clock });
  const mood = { isWritable: true };
  const moodyStore: TokenStore = {
    ...store,
    isDurable: true,
    async put(...parts) {
      if (!mood.isWritable) throw new StoreError('unwritable', 'the disk is full');
      return store.put(...parts);
    },
  };
  return { store: moodyStore, mood, stored: async () => (await store.get(KEY))?.value };
}

/**
 * A platform that rotates: `rt-0` is good first, then what it gave last. Each answer tells the token that was shown.
 */
function range(config: CredentialConfig) {
  const clock = createFakeClock();
  const { store, mood, stored } = moody(clock);
  const shown: (string | null)[] = [];
  const { transport } = scriptedTransport([
    ({ body }) => {
      shown.push(new URLSearchParams(body).get('refresh_token'));
      return granted(`at-${shown.length}`, { refresh_token: `rt-${shown.length}`, expires_in: 3_600 });
    },
  ]);
  const deps = (tokenMs: number) => ({
    config: {
      credentials: [config],
      reauthentication: { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 },
      timeouts: { tokenMs },
    } as unknown as GatewayConfig,
    ...{ transport, store, clock, random: () => 0, log: createLogRecorder() },
  });
  return { clock, store, mood, stored, shown, deps };
}

const PERSON = credentialConfig({ grantType: 'pkce', clientSecret: null, refreshToken: inlineSecret('rt-0', 'test') });

t.test('a rotated refresh token that could not be written counts, though the wall clock was put back', async (t) => {
  const { clock, mood, shown, stored, deps } = range(PERSON);
  const source = createCredentials(deps(4_000)).default()!.source;
  await source.token();
  mood.isWritable = false;
  clock.stepWall(-7_200_000);
  await source.refresh();
  await source.refresh();
  t.same(shown, ['rt-0', 'rt-1', 'rt-2']);
  mood.isWritable = true;
  await clock.advance(61_000);
  t.equal((await stored())?.refreshToken?.reveal(), 'rt-3');
});

t.test('it goes over to the next configuration, which writes it when that is possible', async (t) => {
  const { clock, mood, shown, stored, deps } = range(PERSON);
  const first = createCredentials(deps(4_000));
  first.start();
  await first.default()!.source.token();
  mood.isWritable = false;
  await first.default()!.source.refresh();
  const second = createCredentials(deps(5_000), first);
  second.start();
  first.close(second);
  await second.default()!.source.refresh();
  t.same(shown, ['rt-0', 'rt-1', 'rt-2']);
  const third = createCredentials(deps(6_000), second);
  third.start();
  second.close(third);
  mood.isWritable = true;
  await clock.advance(2_000);
  t.equal((await stored())?.refreshToken?.reveal(), 'rt-3');
});

t.test('another client or region does not inherit it', async (t) => {
  const { mood, shown, deps } = range(PERSON);
  const first = createCredentials(deps(4_000));
  await first.default()!.source.token();
  mood.isWritable = false;
  await first.default()!.source.refresh();
  const other = {
    ...deps(4_000),
    config: { ...deps(4_000).config, credentials: [{ ...PERSON, clientId: 'client-2' }] },
  };
  await createCredentials(other, first).default()!.source.token();
  t.equal(shown[2], 'rt-0');
});

t.test('a record from the future is of a wrong clock: its access token is not used, and it gives way', async (t) => {
  const { clock, store, stored, deps } = range(credentialConfig());
  const obtainedAt = clock.now() + 86_400_000;
  const record = {
    obtainedAt,
    expiresAt: obtainedAt + 1_000,
    refreshToken: null,
    initialFingerprint: null,
    generation: 1,
  };
  await store.replace(KEY, { ...record, accessToken: new Secret('of-tomorrow') }, { expectedVersion: null });
  const credentials = createCredentials(deps(4_000));
  t.equal((await credentials.default()!.source.token()).accessToken.reveal(), 'at-1');
  await credentials.settled();
  t.equal((await stored())?.accessToken?.reveal(), 'at-1');
});

t.test(
  'a stored file that is tampered with, or removed from under another key, costs a gateway that runs nothing',
  async (t) => {
    const path = t.testdir();
    const key = join(path, 'key');
    writeFileSync(key, 'one passphrase');
    const { clock, shown, deps } = range(PERSON);
    const store = () =>
      new FileStore({ path, prefix: 'gcg', encryptionKey: fileSecret(key), clock, log: createLogRecorder() });
    const files = (pattern: RegExp) => readdirSync(path).filter((name) => pattern.test(name));
    const { source } = createCredentials({ ...deps(4_000), store: store() }).default()!;
    await source.token();
    const [file = ''] = files(/\.token$/);
    writeFileSync(join(path, file), 'nonsense');
    await source.refresh();
    t.equal(files(/damaged/).length, 1, 'what was found is kept aside');
    writeFileSync(key, 'another passphrase, longer');
    await source.refresh();
    t.same(shown, ['rt-0', 'rt-1', 'rt-2'], 'it went on with what it knows');
    const next = createCredentials({ ...deps(4_000), store: store() }).default()!;
    t.equal((await next.source.token()).accessToken.reveal(), 'at-3', 'and wrote that down, with the present key');
  },
);

t.test('a damaged record is written again at once, not only when the token is due', async (t) => {
  const { clock, store, stored, deps } = range(PERSON);
  let isDamaged = false;
  const odd: TokenStore = {
    ...store,
    async get(key) {
      if (!isDamaged) return store.get(key);
      isDamaged = false;
      await store.delete(key);
      throw new StoreError('damaged', 'was changed; it is kept aside');
    },
  };
  const credentials = createCredentials({ ...deps(4_000), store: odd });
  credentials.start();
  await credentials.default()!.source.token();
  isDamaged = true;
  await store.replace(
    KEY,
    { ...(await stored())!, generation: 9 },
    { expectedVersion: (await store.get(KEY))!.version },
  );
  await clock.advance(1_000);
  t.equal(await stored(), undefined);
  await clock.advance(1_500);
  t.equal((await stored())?.refreshToken?.reveal(), 'rt-1');
});

t.test('what another instance stores before ours is known to be stored is somebody else’s change', async (t) => {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  const later = storedToken(Date.now() + 3_600_000);
  const store: TokenStore = {
    ...memory,
    isShared: true,
    async put(key, value) {
      const entry = await memory.put(key, value);
      await memory.put(key, later);
      return entry;
    },
  };
  for (const change of ['write', 'forget'] as const) {
    await memory.delete(KEY);
    const record = new TokenRecord({ name: 'crm', key: KEY, store, clock, log: createLogRecorder() });
    const before = record.revision();
    await (change === 'write' ? record.write(storedToken(1), null) : record.forget());
    t.not(record.revision(), before, change);
    t.same((await record.read())?.generation, later.generation);
    t.equal(record.revision(), record.revision(), 'once');
  }
  const alone = new TokenRecord({ name: 'crm', key: KEY, store: memory, clock, log: createLogRecorder() });
  let before = alone.revision();
  await alone.write(storedToken(1), null);
  t.not(alone.revision(), before, 'what was there already and is newer');
  await memory.delete(KEY);
  before = alone.revision();
  await alone.write(storedToken(1), null);
  t.equal(alone.revision(), before, 'ours is not');
});
