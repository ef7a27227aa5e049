import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createCredentials } from '../../../src/auth/credentials/credentials.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { StoreError } from '../../../src/auth/credentials/store/store.ts';
import type { GatewayConfig } from '../../../src/config/gateway-config.ts';
import { fileSecret, inlineSecret, Secret } from '../../../src/secret.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { credentialConfig, credentialsUnderTest, granted, HOSTS } from './fixtures.ts';

t.test('a client credentials token is obtained once, with raw Basic and the form the SDKs send', async (t) => {
  const { registry, requests, form } = credentialsUnderTest(
    [credentialConfig({ clientId: 'id+%é', clientSecret: inlineSecret('s:/?+ü', 'test'), scope: 'users,  routing' })],
    [granted('at-1')],
  );
  const token = await registry.default()?.source.token();
  t.equal(token?.authorization, 'Bearer at-1');
  t.equal(requests.length, 1);
  t.equal(requests[0]?.url, 'https://login.mypurecloud.de/oauth/token');
  t.strictSame(form(0), [
    ['grant_type', 'client_credentials'],
    ['scope', 'users routing'],
  ]);
  const at = requests[0]?.headers.indexOf('authorization') ?? -1;
  t.equal(requests[0]?.headers[at + 1], `Basic ${Buffer.from('id+%é:s:/?+ü').toString('base64')}`);
});

t.test('a given access token is used as it is, without any request', async (t) => {
  const { registry, requests } = credentialsUnderTest(
    [credentialConfig({ grantType: 'access_token', accessToken: inlineSecret('given-1', 'test') })],
    [granted('never')],
  );
  registry.start();
  const token = await registry.get('crm')?.source.token();
  t.equal(token?.authorization, 'Bearer given-1');
  t.equal(token?.expiresAt, Number.POSITIVE_INFINITY);
  t.equal(requests.length, 0);
  t.match(registry.states(), { crm: { token: 'fresh', renewal: 'idle', expiresAt: null } });
});

t.test('a name that is not configured is not found, and without a default there is none', async (t) => {
  const { registry } = credentialsUnderTest([credentialConfig({ isDefault: false })], [granted('x')]);
  t.equal(registry.get('other'), undefined);
  t.equal(registry.default(), undefined);
  t.equal(registry.list().length, 1);
});

t.test('registry methods of the prototype chain are not credentials', async (t) => {
  const { registry } = credentialsUnderTest([credentialConfig()], [granted('x')]);
  t.equal(registry.get('__proto__'), undefined);
  t.equal(registry.get('constructor'), undefined);
});

const samlConfig = (overrides = {}) => credentialConfig({ grantType: 'saml2_bearer', orgName: 'acme', ...overrides });
const refusedAssertion = { statusCode: 400, body: { error: 'invalid_grant' } };

t.test('SAML2: a configured assertion is sent with Basic and orgName', async (t) => {
  const { registry, form } = credentialsUnderTest(
    [samlConfig({ assertion: inlineSecret('YXNz\nZXJ0', 'test') })],
    [granted('at-1')],
  );
  await registry.get('crm')?.source.token();
  t.strictSame(form(0), [
    ['grant_type', 'urn:ietf:params:oauth:grant-type:saml2-bearer'],
    ['orgName', 'acme'],
    ['assertion', 'YXNzZXJ0'],
  ]);
});

t.test('SAML2: without an assertion 424 says where to send one; a posted one works until it is refused', async (t) => {
  const { registry, requests, clock } = credentialsUnderTest(
    [samlConfig()],
    [granted('at-1', { expires_in: 300 }), granted('at-2', { expires_in: 300 }), refusedAssertion],
  );
  const { source, postAssertion } = registry.get('crm')!;
  await t.rejects(source.token(), { code: 'gateway.login.required', message: /POST \/-\/credentials\/crm\/assertion/ });
  t.equal((await postAssertion(new Secret('canary-assertion'))).authorization, 'Bearer at-1');
  await clock.advance(300_000);
  t.equal(source.current()?.authorization, 'Bearer at-2', 'the same assertion serves again while it is accepted');
  await clock.advance(300_000);
  await t.rejects(source.token(), { code: 'gateway.login.required', message: /was refused/ });
  await clock.advance(3_600_000);
  t.equal(requests.length, 3, 'a refused assertion is not sent again');
});

t.test('SAML2: a refused configured assertion is 424 and tried again after a minute', async (t) => {
  const { registry, clock } = credentialsUnderTest(
    [samlConfig({ assertion: inlineSecret('YQ==', 'gcg.ini:7') })],
    [refusedAssertion, granted('at-1')],
  );
  await t.rejects(registry.get('crm')!.source.token(), { code: 'gateway.login.required', message: /gcg\.ini:7/ });
  await clock.advance(60_000);
  t.equal(registry.get('crm')?.source.current()?.authorization, 'Bearer at-1');
});

t.test('SAML2: a posted assertion goes before the configured one, until it is refused', async (t) => {
  const { registry, form, clock } = credentialsUnderTest(
    [samlConfig({ assertion: inlineSecret('Y29uZg==', 'test') })],
    [refusedAssertion, granted('at-1')],
  );
  const { source, postAssertion } = registry.get('crm')!;
  await t.rejects(postAssertion(new Secret('cG9zdGVk')), { code: 'gateway.login.required' });
  await clock.advance(60_000);
  t.equal(source.current()?.authorization, 'Bearer at-1');
  t.strictSame(
    [form(0), form(1)].map((fields) => new Map(fields).get('assertion')),
    ['cG9zdGVk', 'Y29uZg=='],
  );
});

t.test(
  'SAML2: one that is posted while an attempt with another is under way is not judged by how that ends',
  async (t) => {
    const { registry, form, clock } = credentialsUnderTest(
      [samlConfig({ assertion: inlineSecret('b2xk', 'test') })],
      [
        async () => {
          await new Promise<void>((resolve) => clock.after(500, resolve));
          return refusedAssertion;
        },
        granted('at-1'),
      ],
    );
    const { source, postAssertion } = registry.get('crm')!;
    source.start();
    await clock.settle();
    const posted = postAssertion(new Secret('ZnJlc2g='));
    await clock.advance(500);
    t.equal((await posted).authorization, 'Bearer at-1');
    t.equal(new Map(form(1)).get('assertion'), 'ZnJlc2g=');
  },
);

t.test('an assertion for another grant is refused', async (t) => {
  const { registry } = credentialsUnderTest([credentialConfig()], [granted('x')]);
  await t.rejects(registry.get('crm')!.postAssertion(new Secret('a')), { code: 'gateway.request.invalid' });
});

t.test('a secret file mended on disk works within a second', async (t) => {
  const path = join(t.testdir({ secret: 'wrong\n' }), 'secret');
  const { registry, requests, clock } = credentialsUnderTest(
    [credentialConfig({ clientSecret: fileSecret(path) })],
    [
      ({ headers }) =>
        Buffer.from(headers.at(-1)!.slice(6), 'base64').toString().endsWith(':right')
          ? granted('at-1')
          : { statusCode: 400, body: { error: 'invalid_client' } },
    ],
  );
  registry.start();
  await clock.advance(5_000);
  t.match(registry.states(), { crm: { renewal: 'rejected', lastError: { code: 'gateway.credential.rejected' } } });
  writeFileSync(path, 'right\n');
  await clock.advance(1_000);
  t.equal(registry.get('crm')?.source.current()?.authorization, 'Bearer at-1');
  t.equal(requests.length, 2);
});

t.test('an unreadable secret file is 424 that names the file, and no request is made', async (t) => {
  const path = join(t.testdir({}), 'missing');
  const { registry, requests } = credentialsUnderTest(
    [credentialConfig({ clientSecret: fileSecret(path) })],
    [granted('x')],
  );
  await t.rejects(registry.get('crm')!.source.token(), {
    code: 'gateway.credential.rejected',
    message: new RegExp(`${path}.*does not exist`),
  });
  t.equal(requests.length, 0);
});

t.test('a replaced access token file counts at once, also while the old one is in use', async (t) => {
  const path = join(t.testdir({ token: 'one' }), 'token');
  const { registry, clock } = credentialsUnderTest(
    [credentialConfig({ grantType: 'access_token', accessToken: fileSecret(path) })],
    [granted('x')],
  );
  registry.start();
  await clock.advance(5_000);
  t.equal(registry.get('crm')?.source.current()?.authorization, 'Bearer one');
  writeFileSync(path, 'second');
  await clock.advance(1_000);
  t.equal(registry.get('crm')?.source.current()?.authorization, 'Bearer second');
});

t.test('refresh_access_token off does not disable a given token after a stray 401', async (t) => {
  const given = credentialConfig({ grantType: 'access_token', accessToken: inlineSecret('given', 'test') });
  const { registry, clock } = credentialsUnderTest([given], [granted('x')], {
    reauthentication: { refreshAccessToken: false },
  });
  const { source } = registry.get('crm')!;
  const token = await source.token();
  await clock.advance(5_000);
  t.equal(source.invalidate(token, '/api/v2/users'), true);
  const again = source.token();
  await clock.advance(1_000);
  t.equal((await again).authorization, 'Bearer given');
});

t.test('two credentials of one client share neither token nor failure', async (t) => {
  const { registry, requests } = credentialsUnderTest(
    [
      credentialConfig(),
      credentialConfig({
        name: 'other',
        isDefault: false,
        hosts: { ...HOSTS, login: { origin: 'https://login.usw2.pure.cloud', pathPrefix: '/x' } },
      }),
    ],
    [granted('at-1'), { statusCode: 500 }],
  );
  t.equal((await registry.get('crm')!.source.token()).authorization, 'Bearer at-1');
  await t.rejects(registry.get('other')!.source.token(500), { code: 'gateway.credential.unavailable' });
  t.equal(requests[1]?.url, 'https://login.usw2.pure.cloud/x/oauth/token');
  t.equal(registry.get('crm')?.source.state().lastError, null);
});

t.test(
  'with a durable store a restart of client credentials asks for nothing; with the memory store nothing is kept',
  async (t) => {
    const clock = createFakeClock();
    const memory = createMemoryStore({ clock });
    const durable = { ...memory, isDurable: true };
    const first = credentialsUnderTest([credentialConfig()], [granted('at-1')], { clock, store: durable });
    await first.registry.get('crm')!.source.token();
    await clock.settle();
    const second = credentialsUnderTest([credentialConfig()], [granted('at-2')], { clock, store: durable });
    t.equal((await second.registry.get('crm')!.source.token()).authorization, 'Bearer at-1');
    t.equal(second.requests.length, 0);
    const other = credentialsUnderTest([credentialConfig({ clientId: 'client-2' })], [granted('at-3')], {
      clock,
      store: durable,
    });
    t.equal(
      (await other.registry.get('crm')!.source.token()).authorization,
      'Bearer at-3',
      'another client never gets it',
    );
    await second.registry.get('crm')!.source.refresh();
    t.equal(second.requests.length, 1, 'a forced refresh is forced');
    const forgetful = credentialsUnderTest([credentialConfig()], [granted('at-4')], { clock });
    await forgetful.registry.get('crm')!.source.token();
    t.strictSame(await forgetful.store.list(), []);
  },
);

t.test('a store that fails does not keep client credentials from working', async (t) => {
  const clock = createFakeClock();
  const fail = async () => {
    throw new StoreError('unreadable', '/x cannot be read (EACCES)');
  };
  const store = { ...createMemoryStore({ clock }), isDurable: true, get: fail, put: fail };
  const { registry } = credentialsUnderTest([credentialConfig()], [granted('at-1')], { clock, store });
  t.equal((await registry.get('crm')!.source.token()).authorization, 'Bearer at-1');
  await clock.settle();
  t.match(registry.states().crm, { token: 'fresh', storeError: /EACCES/ });
});

t.test(
  'settled waits for the token that is written behind the caller’s back, and for one that cannot be',
  async (t) => {
    for (const outcome of ['written', 'refused']) {
      const memory = createMemoryStore({ clock: createFakeClock() });
      let end = () => {};
      const store = {
        ...memory,
        isDurable: true,
        put: (...args: Parameters<typeof memory.put>) =>
          new Promise<Awaited<ReturnType<typeof memory.put>>>((resolve, reject) => {
            end = () =>
              outcome === 'written'
                ? memory.put(...args).then(resolve)
                : reject(new StoreError('unwritable', 'the disk is full'));
          }),
      };
      const { registry } = credentialsUnderTest([credentialConfig()], [granted('at-1')], { store });
      await registry.get('crm')?.source.token();
      let isSettled = false;
      const settled = registry.settled().then(() => {
        isSettled = true;
      });
      for (let turns = 0; turns < 20; turns += 1) await null;
      t.equal(isSettled, false);
      end();
      await settled;
      t.match(registry.states().crm, { storeError: outcome === 'written' ? null : 'the disk is full' });
    }
  },
);

t.test(
  'a token that another configuration takes over ends when it would have, though the wall clock is put back',
  async (t) => {
    const given = [granted('at-1', { expires_in: 3600 }), granted('at-2')];
    const { registry, clock, transport, requests, log, store } = credentialsUnderTest([credentialConfig()], given);
    registry.start();
    await clock.settle();
    await clock.advance(50 * 60_000);
    clock.stepWall(-3_600_000);
    const config = {
      credentials: [credentialConfig()],
      reauthentication: { refreshAccessToken: false, refreshTokenWaitMaxMs: 1 },
    };
    const deps = {
      config: { ...config, timeouts: { tokenMs: 4_000 } } as unknown as GatewayConfig,
      transport,
      store,
      clock,
      random: () => 0,
      log,
    };
    const next = createCredentials(deps, registry);
    next.start();
    registry.close(next);
    t.equal(next.default()?.source.current()?.authorization, 'Bearer at-1');
    await clock.advance(10 * 60_000);
    t.equal(next.default()?.source.current(), null);
    t.equal(requests.length, 1);
  },
);
