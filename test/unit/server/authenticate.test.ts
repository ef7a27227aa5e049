import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import t from 'tap';
import { createClients } from '../../../src/auth/callers/clients.ts';
import { createHandles } from '../../../src/auth/callers/handles.ts';
import { placeholderCredential } from '../../../src/auth/callers/session.ts';
import { Sessions } from '../../../src/auth/callers/sessions.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { systemClock } from '../../../src/clock.ts';
import type { ClientConfig } from '../../../src/config/gateway-config.ts';
import { Authenticator } from '../../../src/server/authenticate.ts';
import { TrustedProxies } from '../../../src/server/connection.ts';
import { clientNamed } from '../../helpers/clients.ts';
import { createTestLog, hostsAt } from '../../helpers/gateway.ts';

const LOCAL = { isLocal: true };
const request = (headers: Record<string, string | string[]>, remoteAddress = '127.0.0.1') =>
  ({ headers, rawHeaders: Object.entries(headers).flat(2), socket: { remoteAddress } }) as unknown as IncomingMessage;

async function setUp(clients: ClientConfig[], isAnonymousServed = false) {
  const store = createMemoryStore({ clock: systemClock });
  const log = createTestLog();
  const handles = await createHandles({ store, clock: systemClock, log });
  const sessions = new Sessions({
    ...{ store, clock: systemClock, random: Math.random, log },
    endpoint: () => () => Promise.reject(new Error('not asked')),
    settings: () => ({ refreshAccessToken: true, refreshTokenWaitMaxMs: 1 }),
    credential: () => placeholderCredential(hostsAt('http://login.invalid')),
  });
  t.teardown(() => sessions.close());
  return {
    handles,
    authenticator: new Authenticator({
      clients: createClients(clients, systemClock),
      handles,
      sessions,
      standing: { whyBarred: () => null },
      trustedProxies: new TrustedProxies([]),
      isAnonymousServed,
    }),
  };
}

t.test(
  'a Bearer that begins as a handle is a handle or an error, whatever follows and whoever may call without proof',
  async (t) => {
    const { authenticator } = await setUp([clientNamed('crm')], true);
    fc.assert(
      fc.property(
        fc.string({ maxLength: 100 }),
        fc.constantFrom('', 'c', 's'),
        fc.constantFrom('Bearer ', 'bearer ', 'BEARER  ', 'Bearer\t', 'Bearer\t '),
        (rest, kind, scheme) => {
          const token = `gcgh_${kind}${rest}`.trimEnd();
          try {
            authenticator.authenticate(request({ authorization: scheme + token }), LOCAL);
            return false;
          } catch (error) {
            return (error as { code?: string }).code === 'gateway.session.ended';
          }
        },
      ),
      { numRuns: 2000 },
    );
    t.equal(
      authenticator.authenticate(request({ authorization: 'Bearer gcg_h' }), LOCAL).isAuthenticated,
      false,
      'anything else is anonymous',
    );
  },
);

t.test(
  'a caller known by nothing but a session ends where anonymous use ends, also at a socket that it opened',
  async (t) => {
    const session = { id: 'x', owner: {} } as never;
    const nobody = { client: null, handle: null, session: null, authFingerprint: null, isAuthenticated: true };
    const before = await setUp([]);
    const after = await setUp([clientNamed('crm')]);
    t.ok(before.authenticator.renew(nobody, LOCAL, null), 'the control');
    t.equal(after.authenticator.renew(nobody, LOCAL, null), null);
    t.equal(after.authenticator.renew({ ...nobody, session }, LOCAL, null), null);
  },
);

t.test('who may administer: anybody without clients, else a client with admin', async (t) => {
  const { authenticator } = await setUp([clientNamed('crm'), clientNamed('ops', { isAdmin: true })], true);
  const as = (headers: Record<string, string>) => () =>
    authenticator.assertAdmin(authenticator.authenticate(request(headers), LOCAL), LOCAL);
  t.doesNotThrow(as({ 'x-gateway-key': 'ops-secret' }));
  t.throws(as({ 'x-gateway-key': 'crm-secret' }), { code: 'gateway.client.forbidden' });
  t.throws(as({}), { code: 'gateway.client.unauthenticated' });
  const open = await setUp([]);
  t.doesNotThrow(() => open.authenticator.assertAdmin(open.authenticator.authenticate(request({}), LOCAL), LOCAL));
});

t.test('the peer is the socket’s, unless a trusted proxy says otherwise', async (t) => {
  const proxies = new TrustedProxies(['10.0.0.0/8', '2001:db8::/32', '127.0.0.1']);
  const from = (address: string, forwarded?: string) =>
    proxies.peerOf(request(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }, address));
  t.equal(from('192.0.2.1', '198.51.100.7'), '192.0.2.1', 'a stranger is not believed');
  t.equal(from('10.1.2.3', '198.51.100.7'), '198.51.100.7');
  t.equal(from('::ffff:10.1.2.3', '203.0.113.9, 198.51.100.7, 10.9.9.9'), '198.51.100.7', 'the last that is not ours');
  t.equal(from('2001:db8::1', '2001:db8:ffff::2, ::ffff:198.51.100.7'), '198.51.100.7');
  t.equal(from('10.1.2.3', '198.51.100.7:4711'), '198.51.100.7', 'with its port');
  t.equal(from('10.1.2.3', '[2001:db9::7]:4711, 10.9.9.9:80'), '2001:db9::7', 'with its port');
  t.equal(from('10.1.2.3', '[2001:db9::7]'), '2001:db9::7');
  for (const text of ['nonsense', '198.51.100.7:', ':4711', '[198.51.100.7', '198.51.100:4711', 'a.example:80'])
    t.equal(from('10.1.2.3', text), '10.1.2.3', text);
  t.equal(from('10.1.2.3'), '10.1.2.3');
  t.equal(new TrustedProxies([]).peerOf(request({ 'x-forwarded-for': '1.2.3.4' })), '127.0.0.1');
  t.throws(() => new TrustedProxies(['not an address']), TypeError);
});
