import t from 'tap';
import { createAccess } from '../../../src/auth/callers/access.ts';
import { AuthThrottle, delayAfter, networkOf } from '../../../src/auth/callers/auth-throttle.ts';
import { ANONYMOUS } from '../../../src/auth/callers/caller.ts';
import { createClients, parseAuthorization } from '../../../src/auth/callers/clients.ts';
import { parseCertSubject, subjectKey } from '../../../src/cert-subject.ts';
import { systemClock } from '../../../src/clock.ts';
import { Secret } from '../../../src/secret.ts';
import { clientNamed, credentialOf } from '../../helpers/clients.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { configAt, credentialAt } from '../../helpers/gateway.ts';

t.test('Authorization is taken apart as SDKs write it', async (t) => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  t.same(parseAuthorization('Bearer abc'), { scheme: 'bearer', token: 'abc' });
  t.same(parseAuthorization('bEaReR   abc '), { scheme: 'bearer', token: 'abc' });
  t.same(
    parseAuthorization(basic('id:se:c%2Fret')),
    { scheme: 'basic', name: 'id', secret: 'se:c%2Fret' },
    'split at the first colon, nothing decoded',
  );
  t.same(parseAuthorization(basic('ä:ü')), { scheme: 'basic', name: 'ä', secret: 'ü' });
  const others = {
    Bearer: 'Bearer',
    'Bearer ': '',
    '': '',
    'Digest x': 'x',
    'Basic !': '!',
    [basic('nocolon')]: 'nocolon',
    gcgh_x: 'gcgh_x',
  };
  for (const [header, text] of Object.entries(others))
    t.same(parseAuthorization(header), { scheme: 'other', text }, header);
});

t.test('a certificate subject is compared as a whole, in any order', async (t) => {
  const key = subjectKey({ CN: 'crm', O: 'Example, Inc.', OU: ['a', 'b'] });
  t.equal(parseCertSubject('O=Example\\, Inc., OU=b, cn=crm, OU=a'), key);
  t.not(parseCertSubject('CN=crm'), key, 'a part is not the whole');
  t.equal(parseCertSubject('crm'), subjectKey({ CN: 'crm' }));
  t.not(parseCertSubject('CRM'), subjectKey({ CN: 'crm' }), 'values have their case');
  t.not(
    subjectKey({ CN: 'crm,O=Example' }),
    parseCertSubject('CN=crm,O=Example'),
    'a comma in a value is not a second attribute',
  );
});

t.test(
  'two clients that come to have one secret are told apart by name, and it proves neither by itself',
  async (t) => {
    const clients = createClients(
      [clientNamed('a', { secretSha256: [] }), clientNamed('b', { secret: clientNamed('a').secret })],
      systemClock,
    );
    t.equal(clients.byNameAndSecret('a', 'a-secret')?.client?.name, 'a');
    t.equal(clients.byNameAndSecret('b', 'a-secret')?.client?.name, 'b');
    t.equal(clients.byNameAndSecret('c', 'a-secret'), null);
    t.equal(clients.bySecret('a-secret'), null);
  },
);

t.test('a secret file that comes to hold a short secret proves nobody where others can try it', async (t) => {
  for (const isReachable of [true, false]) {
    const clock = createFakeClock();
    let kept = 'a-secret-of-32-characters-or-more';
    const secret = { origin: 'file x', read: () => new Secret(kept), revision: () => kept };
    const clients = createClients([clientNamed('crm', { secret })], clock, { isReachable });
    const isGood = () => [clients.bySecret(kept), clients.byNameAndSecret('crm', kept)].map((found) => found !== null);
    t.same(isGood(), [true, true]);
    const authFingerprint = clients.bySecret(kept)?.authFingerprint ?? '';
    kept = '4711';
    await clock.advance(1_000);
    t.same(isGood(), [!isReachable, !isReachable], `short, reachable: ${isReachable}`);
    t.equal(clients.byFingerprint('crm', authFingerprint, []), null, 'the one before proves nothing either');
    kept = 'another-secret-of-32-characters-x';
    await clock.advance(1_000);
    t.same(isGood(), [true, true]);
  }
});

t.test('access: listed credentials, the first is the default; nobody else’s', async (t) => {
  const other = { id: 'x', secret: 'y' };
  const config = configAt('http://127.0.0.1:1', {
    credentials: [
      credentialAt('http://127.0.0.1:1'),
      credentialOf('http://127.0.0.1:1', 'b', other),
      credentialOf('http://127.0.0.1:1', 'c', other),
    ],
    clients: [clientNamed('none'), clientNamed('both', { credentials: ['c', 'b'] })],
  });
  const access = createAccess(config);
  const clients = createClients(config.clients, systemClock);
  const none = clients.get('none') ?? ANONYMOUS;
  const both = clients.get('both') ?? ANONYMOUS;
  t.equal(access.defaultFor(none), 'default');
  t.equal(access.mayUse(none, 'b'), false);
  t.equal(access.defaultFor(both), 'c');
  t.equal(access.mayUse(both, 'default'), false);
  t.equal(access.byClientId(both, 'x')?.name, 'c', 'its default first');
  t.equal(access.byClientId(none, 'x'), null);
  t.equal(access.defaultFor(ANONYMOUS), 'default');
  t.equal(access.mayUse(ANONYMOUS, 'b'), false);
  const all = createAccess(configAt('http://127.0.0.1:1', { ...config, server: { anonymousCredentials: ['*'] } }));
  t.equal(all.mayUse(ANONYMOUS, 'b'), true);
  t.equal(all.defaultFor(ANONYMOUS), 'default');
  t.equal(all.mayUse(none, 'b'), false, 'a client is not widened by it');
  const noDefault = createAccess(
    configAt('http://127.0.0.1:1', { credentials: [credentialOf('http://127.0.0.1:1', 'b', other)], clients: [] }),
  );
  t.equal(noDefault.defaultFor(ANONYMOUS), null);
});

t.test('failures are slowed from the fourth on, up to 8 s, and forgotten after ten quiet minutes', async (t) => {
  t.same([1, 3, 4, 5, 6, 9, 50].map(delayAfter), [0, 0, 250, 500, 1000, 8000, 8000]);
  const clock = createFakeClock();
  const delay = new AuthThrottle(clock);
  for (let i = 0; i < 3; i++) t.same(delay.delayFailure('peer'), { until: null, isOverflow: false });
  t.ok(delay.delayFailure('peer').until);
  t.equal(delay.delayFailure('another').until, null, 'another peer is not slowed');
  await clock.advance(11 * 60_000);
  t.equal(delay.delayFailure('peer').until, null);
});

/** How many of a peer's failures are answered within ten minutes, when so many come each second. */
async function verdictsIn10Minutes(atOnce: number, isServed = false): Promise<number> {
  const clock = createFakeClock();
  const delay = new AuthThrottle(clock);
  let verdicts = 0;
  let serial = 0;
  for (let second = 0; second < 600; second++) {
    for (let i = 0; i < atOnce; i++) {
      serial += 1;
      const { until, isOverflow } = isServed ? delay.delayGuess('peer', `guess ${serial}`) : delay.delayFailure('peer');
      if (!isOverflow) {
        if (until === null) verdicts += 1;
        else
          void until.then(() => {
            verdicts += 1;
          });
      }
    }
    await clock.advance(1_000);
  }
  return verdicts;
}

t.test(
  'however many failures of one peer come at once, and whether they are refused or served as nobody, it learns of few',
  async (t) => {
    for (const isServed of [false, true]) {
      for (const atOnce of [1, 16, 200]) {
        const verdicts = await verdictsIn10Minutes(atOnce, isServed);
        t.ok(verdicts > 5 && verdicts < 100, `${atOnce} a second: ${verdicts} of ${600 * atOnce}`);
      }
    }
  },
);

t.test(
  'a value that is shown again is no guess, where it is served; another value is, and so is the same value of ' +
    'another peer',
  async (t) => {
    const clock = createFakeClock();
    const delay = new AuthThrottle(clock);
    for (let i = 0; i < 100; i++) t.same(delay.delayGuess('peer', 'dummy'), { until: null, isOverflow: false });
    for (const value of ['a', 'b'])
      t.equal(delay.delayGuess('peer', value).until, null, 'the second and third failure');
    t.ok(delay.delayGuess('peer', 'c').until);
    t.equal(delay.delayGuess('peer', 'dummy').until, null);
    for (const value of ['a', 'b', 'c']) t.equal(delay.delayGuess('other', value).until, null);
    t.ok(delay.delayGuess('other', 'dummy').until, 'the fourth of this one');
  },
);

t.test('the /64 of an IPv6 address is one peer, an IPv4 address is one, and zones make no difference', async (t) => {
  for (const [address, network] of [
    ['2001:db8:0:1::1', '2001:db8:0:1::/64'],
    ['2001:db8:0:1:ffff:ffff:ffff:ffff', '2001:db8:0:1::/64'],
    ['2001:DB8::1:0:0:0:9', '2001:db8:0:1::/64'],
    ['2001:db8::', '2001:db8:0:0::/64'],
    ['2001:db8:0:2::1', '2001:db8:0:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['192.0.2.1', '192.0.2.1'],
    ['127.0.0.1', '127.0.0.0/8'],
    ['127.255.1.2', '127.0.0.0/8'],
    ['127.example', '127.example'],
    ['local', 'local'],
    ['', ''],
  ] as const) {
    t.equal(networkOf(address), network, address);
  }
  const delay = new AuthThrottle(createFakeClock());
  const held = Array.from({ length: 1_000 }, (_, at) => delay.delayFailure(`2001:db8::${at.toString(16)}`));
  t.ok(held.filter(({ isOverflow }) => isOverflow).length > 980);
  const heldHere = Array.from({ length: 1_000 }, (_, at) => delay.delayFailure(`127.0.${at >> 8}.${at & 255}`));
  t.ok(heldHere.filter(({ isOverflow }) => isOverflow).length > 980, 'a local caller chooses its address');
});

t.test('delayed refusals are bounded, for one peer and over all', async (t) => {
  const clock = createFakeClock();
  const delay = new AuthThrottle(clock);
  const fail = (peer: string, times: number) => Array.from({ length: times }, () => delay.delayFailure(peer));
  const one = fail('one', 100);
  t.equal(one.filter(({ until }) => until !== null).length, 5);
  t.equal(one.at(-1)?.isOverflow, true);
  for (let peer = 0; peer < 1000; peer++) fail(`peer ${peer}`, 10);
  t.equal(delay.delayedCount, 256);
  await clock.advance(8000);
  t.equal(delay.delayedCount, 0);
});
