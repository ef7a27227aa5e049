import t from 'tap';
import { createAccess } from '../../../src/auth/clients/access.ts';
import { parseAuthorization } from '../../../src/auth/clients/authorization.ts';
import { ANONYMOUS } from '../../../src/auth/clients/caller.ts';
import { parseCertSubject, subjectKey } from '../../../src/auth/clients/cert-subject.ts';
import { createClients } from '../../../src/auth/clients/clients.ts';
import { createFailureDelay, delayAfter } from '../../../src/auth/clients/failure-delay.ts';
import { systemClock } from '../../../src/clock.ts';
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
  const others = { Bearer: 'Bearer', 'Bearer ': '', '': '', 'Digest x': 'x', 'Basic !': '!', [basic('nocolon')]: 'nocolon', gcgh_x: 'gcgh_x' };
  for (const [header, text] of Object.entries(others)) t.same(parseAuthorization(header), { scheme: 'other', text }, header);
});

t.test('a certificate subject is compared as a whole, in any order', async (t) => {
  const key = subjectKey({ CN: 'crm', O: 'Example, Inc.', OU: ['a', 'b'] });
  t.equal(parseCertSubject('O=Example\\, Inc., OU=b, cn=crm, OU=a'), key);
  t.not(parseCertSubject('CN=crm'), key, 'a part is not the whole');
  t.equal(parseCertSubject('crm'), subjectKey({ CN: 'crm' }));
  t.not(parseCertSubject('CRM'), subjectKey({ CN: 'crm' }), 'values have their case');
  t.not(subjectKey({ CN: 'crm,O=Example' }), parseCertSubject('CN=crm,O=Example'), 'a comma in a value is not a second attribute');
});

t.test('two clients with one secret are told apart by name', async (t) => {
  const clients = createClients([clientNamed('a', { secretSha256: [] }), clientNamed('b', { secret: clientNamed('a').secret })], systemClock);
  t.equal(clients.byNameAndSecret('a', 'a-secret')?.caller.client?.name, 'a');
  t.equal(clients.byNameAndSecret('b', 'a-secret')?.caller.client?.name, 'b');
  t.equal(clients.byNameAndSecret('c', 'a-secret'), null);
});

t.test('access: listed credentials, the first is the default; nobody else’s', async (t) => {
  const other = { id: 'x', secret: 'y' };
  const config = configAt('http://127.0.0.1:1', {
    credentials: [credentialAt('http://127.0.0.1:1'), credentialOf('http://127.0.0.1:1', 'b', other), credentialOf('http://127.0.0.1:1', 'c', other)],
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
  const noDefault = createAccess(configAt('http://127.0.0.1:1', { credentials: [credentialOf('http://127.0.0.1:1', 'b', other)], clients: [] }));
  t.equal(noDefault.defaultFor(ANONYMOUS), null);
});

t.test('failures are slowed from the fourth on, up to 8 s, and forgotten after ten quiet minutes', async (t) => {
  t.same([1, 3, 4, 5, 6, 9, 50].map(delayAfter), [0, 0, 250, 500, 1000, 8000, 8000]);
  const clock = createFakeClock();
  const delay = createFailureDelay(clock);
  for (let i = 0; i < 3; i++) t.equal(delay.held('peer').until, null);
  t.ok(delay.held('peer').until);
  t.equal(delay.held('another').until, null, 'another peer is not slowed');
  await clock.advance(11 * 60_000);
  t.equal(delay.held('peer').until, null);
});

t.test('refusals held back are bounded, for one peer and over all', async (t) => {
  const clock = createFakeClock();
  const delay = createFailureDelay(clock);
  const fail = (peer: string, times: number) => Array.from({ length: times }, () => delay.held(peer));
  const one = fail('one', 100);
  t.equal(one.filter(({ until }) => until !== null).length, 16);
  t.equal(one.at(-1)?.isOverflow, true);
  for (let peer = 0; peer < 1000; peer++) fail(`peer ${peer}`, 10);
  t.equal(delay.heldCount, 256);
  await clock.advance(8000);
  t.equal(delay.heldCount, 0);
});
