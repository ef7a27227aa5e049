// Where a call counts as coming from, and what a client may still do that has ended, is blocked or calls from elsewhere:
// by each kind of proof. Requests are made up; real listeners and sockets are tried in test/integration.

import { hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import t from 'tap';
import { ANONYMOUS, type Arrival } from '../../../src/auth/callers/caller.ts';
import { ClientBlocks } from '../../../src/auth/callers/client-blocks.ts';
import { createClients } from '../../../src/auth/callers/clients.ts';
import { createHandles } from '../../../src/auth/callers/handles.ts';
import { Standing } from '../../../src/auth/callers/standing.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import type { TokenStore } from '../../../src/auth/credentials/store/store.ts';
import { StoreError } from '../../../src/auth/credentials/store/store.ts';
import type { ClientConfig } from '../../../src/config/gateway-config.ts';
import { Authenticator } from '../../../src/server/authenticate.ts';
import { isFailedAuthentication } from '../../../src/server/authentication-error.ts';
import { TrustedProxies } from '../../../src/server/connection.ts';
import { basic, clientNamed } from '../../helpers/clients.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createTestLog } from '../../helpers/gateway.ts';

const TCP: Arrival = { isLocal: true };
const UNIX: Arrival = { isLocal: true, peerName: 'unix:/run/gcg.sock' };
/** Inherited: its path is not known. */
const FD: Arrival = { isLocal: true, peerName: 'unix' };

const from = (remoteAddress: string | undefined, headers: Record<string, string> = {}) =>
  ({ socket: { remoteAddress }, headers, rawHeaders: [] }) as unknown as IncomingMessage;

async function setUp(client: Partial<ClientConfig>, options: { proxies?: string[]; isAnonymousServed?: boolean } = {}) {
  const clock = createFakeClock();
  const log = createTestLog();
  const store = createMemoryStore({ clock });
  const configs = [clientNamed('crm', client), clientNamed('bi')];
  const blocks = new ClientBlocks({ store, clock, log });
  const handles = await createHandles({ store, clock, log });
  const authFingerprint = hash('sha256', 'crm-secret').slice(0, 12);
  const handle = handles.issue({ client: 'crm', credential: null, authFingerprint });
  const sessionOwner = { client: 'crm', authFingerprint };
  const sessions = {
    ownerOf: (token: string) => (token === 'gcgh_s-crm' ? sessionOwner : null),
    find: () => ({ id: 'x', owner: sessionOwner }),
    isGood: () => true,
  };
  const authenticator = new Authenticator({
    clients: createClients(configs, clock),
    handles,
    sessions: sessions as never,
    standing: new Standing(configs, clock, blocks),
    trustedProxies: new TrustedProxies(options.proxies ?? []),
    isAnonymousServed: options.isAnonymousServed ?? false,
  });
  return { clock, blocks, authenticator, handle };
}

/** Who a request is taken for; what is said where it is refused. */
function outcome(authenticator: Authenticator, request: IncomingMessage, arrival: Arrival): string {
  try {
    return authenticator.authenticate(request, arrival).client?.name ?? 'nobody';
  } catch (error) {
    return `${(error as { code: string }).code}: ${(error as Error).message}${isFailedAuthentication(error) ? ' [guess]' : ''}`;
  }
}

const ELSEWHERE =
  /^gateway\.client\.unauthenticated: client crm may not call from .*: client\.crm\.from does not list it.* \[guess\]$/;

t.test('where a call comes from: sockets, proxies that are trusted, and those who only say so', async (t) => {
  const cases: [
    what: string,
    from: string[],
    proxies: string[],
    request: IncomingMessage,
    arrival: Arrival,
    isLet: boolean,
  ][] = [
    ['a listed address', ['10.1.0.0/16'], [], from('10.1.2.3'), TCP, true],
    ['another', ['10.1.0.0/16'], [], from('10.2.0.1'), TCP, false],
    ['a listed one, mapped', ['10.1.0.0/16'], [], from('::ffff:10.1.2.3'), TCP, true],
    ['a mapped block', ['::ffff:10.1.0.0/112'], [], from('10.1.2.3'), TCP, true],
    ['IPv6', ['2001:db8::/32'], [], from('2001:db8::7'), TCP, true],
    ['IPv6 with a zone', ['fe80::/10'], [], from('fe80::1%eth0'), TCP, true],
    ['all of IPv4 does not hold IPv6', ['0.0.0.0/0'], [], from('::1'), TCP, false],
    [
      'a header that nobody trusts',
      ['10.1.0.0/16'],
      [],
      from('192.0.2.9', { 'x-forwarded-for': '10.1.2.3' }),
      TCP,
      false,
    ],
    [
      'the same by Forwarded',
      ['10.1.0.0/16'],
      ['192.0.2.9'],
      from('192.0.2.9', { forwarded: 'for=10.1.2.3' }),
      TCP,
      false,
    ],
    [
      'a trusted proxy’s word',
      ['10.1.0.0/16'],
      ['192.0.2.9'],
      from('192.0.2.9', { 'x-forwarded-for': '10.1.2.3' }),
      TCP,
      true,
    ],
    [
      'the same with its port',
      ['10.1.0.0/16'],
      ['192.0.2.9'],
      from('192.0.2.9', { 'x-forwarded-for': '10.1.2.3:4711' }),
      TCP,
      true,
    ],
    [
      'what a caller wrote before its proxy added the truth',
      ['10.1.0.0/16'],
      ['192.0.2.9'],
      from('192.0.2.9', { 'x-forwarded-for': '10.1.2.3, 203.0.113.5' }),
      TCP,
      false,
    ],
    [
      'a chain of trusted proxies',
      ['10.1.0.0/16'],
      ['192.0.2.0/24'],
      from('192.0.2.9', { 'x-forwarded-for': '10.1.2.3, 192.0.2.8' }),
      TCP,
      true,
    ],
    ['a proxy that says nothing is itself the peer', ['10.1.0.0/16'], ['192.0.2.9'], from('192.0.2.9'), TCP, false],
    [
      'a proxy that says nonsense, too',
      ['10.1.0.0/16'],
      ['192.0.2.9'],
      from('192.0.2.9', { 'x-forwarded-for': '10.1.2.3, unknown' }),
      TCP,
      false,
    ],
    [
      'unix in the header is no Unix socket',
      ['unix'],
      ['192.0.2.9'],
      from('192.0.2.9', { 'x-forwarded-for': 'unix' }),
      TCP,
      false,
    ],
    ['a Unix socket has no address', ['127.0.0.1', '::1'], [], from(undefined), UNIX, false],
    ['a Unix socket, listed', ['unix'], [], from(undefined), UNIX, true],
    ['an inherited one, listed', ['unix'], [], from(undefined), FD, true],
    [
      'a header over a Unix socket counts for nothing',
      ['10.1.0.0/16'],
      ['127.0.0.1'],
      from(undefined, { 'x-forwarded-for': '10.1.2.3' }),
      UNIX,
      false,
    ],
    ['loopback is not a Unix socket', ['unix'], [], from('127.0.0.1'), TCP, false],
    ['a TCP socket that is gone tells no address', ['unix', '0.0.0.0/0'], [], from(undefined), TCP, false],
  ];
  for (const [what, places, proxies, request, arrival, isLet] of cases) {
    const { authenticator } = await setUp({ from: places }, { proxies });
    Object.assign(request.headers, { authorization: 'Bearer crm-secret' });
    const said = outcome(authenticator, request, arrival);
    if (isLet) t.equal(said, 'crm', what);
    else t.match(said, ELSEWHERE, what);
    Object.assign(request.headers, { authorization: 'Bearer bi-secret' });
    t.equal(outcome(authenticator, request, arrival), 'bi', `${what}: others call from anywhere`);
  }
});

t.test(
  'each kind of proof is refused while its client may not call, and none falls back to anonymous use',
  async (t) => {
    const { clock, blocks, authenticator, handle } = await setUp(
      { from: ['10.0.0.0/8'], expiresAt: createFakeClock().now() + 60_000 },
      { isAnonymousServed: true },
    );
    const proofs: Record<string, Record<string, string>> = {
      secret: { authorization: 'Bearer crm-secret' },
      Basic: { authorization: basic('crm', 'crm-secret') },
      'X-Gateway-Key': { 'x-gateway-key': 'crm-secret' },
      handle: { authorization: `Bearer ${handle}` },
      'handle in X-Gateway-Key': { 'x-gateway-key': handle },
      session: { authorization: 'Bearer gcgh_s-crm' },
    };
    const ask = (address: string) =>
      Object.fromEntries(
        Object.entries(proofs).map(([what, headers]) => [what, outcome(authenticator, from(address, headers), TCP)]),
      );
    const all = (wanted: (what: string) => string | RegExp) =>
      Object.fromEntries(Object.keys(proofs).map((what) => [what, wanted(what)]));
    const isHandle = (what: string) => /handle|session/.test(what);
    const code = (what: string) => (isHandle(what) ? 'gateway.session.ended' : 'gateway.client.unauthenticated');
    t.strictSame(
      ask('10.0.0.1'),
      all(() => 'crm'),
      'the control',
    );
    t.match(
      ask('192.0.2.1'),
      all(() => ELSEWHERE),
    );
    await blocks.set('crm', true);
    t.strictSame(
      ask('10.0.0.1'),
      all((what) => `${code(what)}: client crm is blocked: ask who runs this gateway`),
    );
    await blocks.set('crm', false);
    t.strictSame(
      ask('10.0.0.1'),
      all(() => 'crm'),
    );
    await clock.advance(59_999);
    t.strictSame(
      ask('10.0.0.1'),
      all(() => 'crm'),
    );
    await clock.advance(1);
    t.match(
      ask('10.0.0.1'),
      all((what) => new RegExp(`^${code(what)}: client crm ended at \\d{4}-.*Z: ask who runs this gateway$`)),
    );
  },
);

t.test('what was authenticated before ends as well: sockets, refreshes, renewed callers', async (t) => {
  const { clock, blocks, authenticator } = await setUp({
    from: ['10.0.0.0/8'],
    expiresAt: createFakeClock().now() + 60_000,
  });
  const caller = authenticator.authenticate(from('10.0.0.1', { authorization: 'Bearer crm-secret' }), TCP);
  const kept = { client: 'crm', authFingerprint: caller.authFingerprint };
  const now = (peer: string | null = '10.0.0.1') => [
    authenticator.revalidate(caller, TCP, peer)?.code ?? 'goes on',
    authenticator.renew(caller, TCP, peer)?.client?.name ?? 'over',
    authenticator.reauthenticate(kept, TCP, peer)?.client?.name ?? 'over',
  ];
  t.strictSame(now(), ['goes on', 'crm', 'crm']);
  const over = ['gateway.client.unauthenticated', 'over', 'over'];
  t.strictSame(now('192.0.2.1'), over, 'from elsewhere');
  t.strictSame(now(null), over, 'from nowhere');
  await blocks.set('crm', true);
  t.strictSame(now(), over);
  await blocks.set('crm', false);
  t.strictSame(now(), ['goes on', 'crm', 'crm']);
  await clock.advance(60_000);
  t.strictSame(now(), over);
  t.equal(
    authenticator.revalidate({ ...caller, session: { owner: {} } as never }, TCP, '10.0.0.1')?.code,
    'gateway.session.ended',
  );
  t.throws(() => authenticator.assertRenewed(caller, TCP, '10.0.0.1'), /ended at/);
  t.equal(authenticator.revalidate(ANONYMOUS, TCP, null)?.code, 'gateway.client.unauthenticated', 'as before');
});

t.test('a block is kept by the store, and told where it cannot be', async (t) => {
  const clock = createFakeClock();
  const log = createTestLog();
  const memory = createMemoryStore({ clock });
  let isBroken = false;
  const store: TokenStore = {
    ...memory,
    isDurable: true,
    get: (key) => memory.get(key),
    lock: (key, waitMs) => memory.lock(key, waitMs),
    revision: (key) => memory.revision(key),
    list: () => memory.list(),
    delete: (key) => memory.delete(key),
    replace: (...args) =>
      isBroken ? Promise.reject(new StoreError('unwritable', 'the disk is full')) : memory.replace(...args),
  };
  const one = new ClientBlocks({ store, clock, log });
  const other = new ClientBlocks({ store, clock, log });
  await one.load();
  await other.load();
  t.equal(await one.set('crm', true), true);
  t.equal(await one.set('crm', true), false, 'again changes nothing');
  t.equal(one.since('crm'), clock.now());
  const later = new ClientBlocks({ store, clock, log });
  await later.load();
  t.ok(later.has('crm'), 'a restart');
  await clock.advance(1_000);
  other.has('crm');
  await clock.advance(0);
  t.ok(other.has('crm'), 'another process of the same store');
  await Promise.all([one.set('bi', true), other.set('erp', true)]);
  const both = new ClientBlocks({ store, clock, log });
  await both.load();
  t.strictSame(
    ['crm', 'bi', 'erp'].map((name) => both.has(name)),
    [true, true, true],
    'neither undoes the other',
  );
  isBroken = true;
  await t.rejects(one.set('web', true), {
    code: 'gateway.internal',
    message: /blocked here, but the store cannot keep that/,
  });
  t.ok(one.has('web'), 'here it counts');
  t.equal(log.lines.at(-1)?.msg, 'block of a client cannot be kept');
  isBroken = false;
  t.equal(await one.set('web', true), false, 'and can be tried again');
  await both.load();
  t.ok(both.has('web'));
});

t.test('a list that a shared store lost is missing, and not empty, until others may have told it', async (t) => {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  let [isAway, isSettled] = [true, false];
  const store: TokenStore = {
    ...memory,
    isShared: true,
    isDurable: true,
    isSettled: () => isSettled,
    onChange: () => () => {},
    get: (key) => (isAway ? Promise.reject(new StoreError('absent', 'not reached')) : memory.get(key)),
  };
  const blocks = new ClientBlocks({ store, clock, log: createTestLog() });
  const unknown = { code: 'gateway.credential.unavailable' };
  await blocks.load();
  t.throws(() => blocks.has('crm'), unknown, 'nobody can tell');
  isAway = false;
  await blocks.load();
  t.throws(() => blocks.has('crm'), unknown, 'it may be told yet');
  isSettled = true;
  await blocks.load();
  t.notOk(blocks.has('crm'), 'there was none');
  const fresh = new ClientBlocks({ store, clock, log: createTestLog() });
  await fresh.load();
  t.notOk(fresh.has('crm'), 'one that is there and has none is believed at once');
});

t.test('nobody is blocked by a list that takes the place of one that others are about to tell again', async (t) => {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  let isComplete = true;
  const store: TokenStore = { ...memory, isShared: true, isDurable: true, isComplete: () => isComplete };
  const deps = { store, clock, log: createTestLog() };
  const starting = new ClientBlocks(deps);
  await starting.load();
  isComplete = false;
  await t.rejects(starting.set('web', true), { code: 'gateway.internal' });
  t.ok(starting.has('web'), 'here it counts');
  const knowing = new ClientBlocks(deps);
  isComplete = true;
  await knowing.set('crm', true);
  await starting.set('web', true);
  const third = new ClientBlocks(deps);
  await third.load();
  t.same(
    ['web', 'crm'].map((name) => third.has(name)),
    [true, true],
  );
});
