import t from 'tap';
import { ANONYMOUS, certifiedCaller } from '../../../src/auth/callers/caller.ts';
import { MemoryRecords, recordId, type SharedRecords } from '../../../src/auth/credentials/store/records.ts';
import { StoreError } from '../../../src/auth/credentials/store/store.ts';
import { certificateFingerprint } from '../../../src/cert-subject.ts';
import {
  type ChannelOwner,
  ChannelRegister,
  channelOwner,
  isSameCaller,
  showsToken,
} from '../../../src/server/websocket/channels.ts';
import { Channels } from '../../../src/server/websocket/shared-channels.ts';
import { clientNamed } from '../../helpers/clients.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const callerOf = (name: string): ChannelOwner =>
  channelOwner({ ...ANONYMOUS, client: clientNamed(name), authFingerprint: name, isAuthenticated: true });
const sessionOf = (hash: string, user?: string): ChannelOwner => {
  const session = { owner: { hash, clientId: 'app' }, tokens: { user } } as never;
  return channelOwner({ ...ANONYMOUS, session, isAuthenticated: true });
};
const NOBODY = channelOwner(ANONYMOUS);
const url = new URL('wss://streaming.mypurecloud.de/channels/a');
const mine = { owner: callerOf('crm'), credential: 'default', url };

t.test('a channel stays whose it is', (t) => {
  const register = new ChannelRegister({ clock: createFakeClock() });
  const first = register.issue('a', mine, undefined);
  t.ok(first?.token);
  t.equal(register.issue('a', { ...mine, owner: callerOf('erp') }, undefined), null, 'not another client’s');
  t.equal(register.issue('a', { ...mine, credential: 'other' }, undefined), null, 'not another credential’s');
  t.equal(register.issue('a', mine, undefined)?.token, first?.token, 'its address stays what it was');
  t.strictSame(register.find('a')?.owner, mine.owner);
  t.equal(register.find('b'), null);
  t.end();
});

t.test(
  'where there are no clients, a channel is the certificate’s subject’s, whatever CAs vouch for it, or anybody’s ' +
    'who proved nothing',
  (t) => {
    const by = (subject: string, ca: string) => channelOwner(certifiedCaller(certificateFingerprint(subject, [ca])));
    t.ok(isSameCaller(by('CN=a', 'one'), by('CN=a', 'two')));
    t.notOk(isSameCaller(by('CN=a', 'one'), by('CN=b', 'one')));
    t.notOk(isSameCaller(by('CN=a', 'one'), ANONYMOUS));
    t.ok(isSameCaller(ANONYMOUS, ANONYMOUS));
    const register = new ChannelRegister({ clock: createFakeClock() });
    t.ok(
      register.issue('a', { ...mine, owner: by('CN=a', 'one') }, undefined)?.token,
      'its socket may come without the certificate',
    );
    t.equal(register.issue('a', { ...mine, owner: by('CN=b', 'one') }, undefined), null);
    t.equal(register.issue('b', { ...mine, owner: NOBODY }, undefined)?.token, null);
    t.end();
  },
);

t.test('a channel lives as long as the platform says, a day if it does not, and never for ever', async (t) => {
  const clock = createFakeClock();
  const register = new ChannelRegister({ clock });
  const in2h = new Date(clock.now() + 7_200_000).toISOString();
  register.issue('short', mine, in2h);
  register.issue('day', mine, 'whenever');
  register.issue('past', mine, '2001-01-01T00:00:00Z');
  register.issue('ages', mine, '2999-01-01T00:00:00Z');
  clock.stepWall(7_200_000);
  t.equal(register.find('short'), null);
  t.ok(register.find('day') && register.find('past'));
  clock.stepWall(80_000_000);
  t.equal(register.find('day') ?? register.find('past'), null);
  t.ok(register.find('ages'));
  clock.stepWall(7 * 86_400_000);
  t.equal(register.find('ages'), null);
  t.ok(register.issue('short', { ...mine, owner: callerOf('erp') }, in2h), 'what has expired is nobody’s');
});

t.test('there is a bound, and those not used for longest go first', (t) => {
  const register = new ChannelRegister({ clock: createFakeClock(), max: 2 });
  register.issue('a', mine, undefined);
  register.issue('b', mine, undefined);
  register.find('a');
  register.issue('c', mine, undefined);
  t.ok(register.find('a') && register.find('c'));
  t.equal(register.find('b'), null);
  t.end();
});

t.test('a client that makes channels without end makes its own be forgotten, and nobody else’s', (t) => {
  const register = new ChannelRegister({ clock: createFakeClock(), max: 4 });
  register.issue('quiet', { ...mine, owner: callerOf('erp') }, undefined);
  register.issue('anybody', { ...mine, owner: NOBODY }, undefined);
  for (let made = 0; made < 20; made++) register.issue(`noisy-${made}`, mine, undefined);
  t.ok(register.find('quiet') && register.find('anybody'));
  t.same(
    [17, 18, 19].map((made) => register.find(`noisy-${made}`) !== null),
    [false, true, true],
  );
  t.end();
});

t.test('near 20 of an account the log is told once who has them, beyond it once more, and again the next time', (t) => {
  const clock = createFakeClock();
  const warnings: Record<string, unknown>[] = [];
  const log = { warn: (fields: object, msg: string) => void warnings.push({ ...fields, msg }) };
  const register = new ChannelRegister({ clock, log });
  const issue = (from: number, to: number, owner = mine.owner, credential = 'default') => {
    for (let made = from; made < to; made += 1)
      register.issue(`${credential}-${made}`, { ...mine, owner, credential }, undefined);
  };
  issue(0, 10);
  issue(10, 15, callerOf('erp'));
  issue(0, 15, mine.owner, 'other');
  t.equal(warnings.length, 0);
  t.same(
    register.accounts().map(({ warning }) => warning),
    [null, null],
  );
  issue(15, 20, NOBODY);
  t.match(warnings, [
    {
      msg: 'many notification channels',
      ...{ credential: 'default', channels: 16, most: 20, clients: 'crm 10, erp 5, anonymous 1' },
      warning: /16 notification channels are in use, and Genesys Cloud keeps 20/,
    },
  ]);
  register.issue('default-3', mine, undefined);
  t.equal(warnings.length, 1, 'one that is listed again is no new one');
  issue(20, 30);
  t.match(warnings.slice(1), [{ channels: 21, warning: /21 notification channels were made .* are gone/ }]);
  t.match(register.accounts(), [
    {
      credential: 'default',
      session: null,
      channels: 30,
      clients: [{ client: 'crm', channels: 20 }, {}, {}],
      warning: /30/,
    },
    { credential: 'other', channels: 15, warning: null },
  ]);
  clock.stepWall(24 * 3_600_000);
  t.same(register.accounts(), [], 'they have ended');
  issue(30, 31);
  issue(40, 55);
  t.equal(warnings.length, 3);
  t.end();
});

t.test('the users of sessions count for themselves, whatever number of sessions they have', (t) => {
  const clock = createFakeClock();
  const register = new ChannelRegister({ clock });
  const callers = [sessionOf('a', 'ada'), sessionOf('b', 'ada'), sessionOf('c', 'bruno'), sessionOf('d')];
  for (const [index, owner] of [...callers, ...callers].entries())
    register.issue(`s${index}`, { ...mine, owner }, undefined);
  register.issue('own', mine, undefined);
  t.same(
    register.accounts().map(({ session, channels }) => [session, channels]),
    [
      ['a', 4],
      ['c', 2],
      ['d', 2],
      [null, 1],
    ],
  );
  t.end();
});

t.test('who is the same caller', (t) => {
  t.ok(
    isSameCaller(callerOf('crm'), { ...callerOf('crm'), handle: { id: 'x' } as never }),
    'a client by whatever proof',
  );
  t.ok(isSameCaller(sessionOf('a'), sessionOf('a')), 'a session that was set to work anew');
  t.notOk(isSameCaller(ANONYMOUS, certifiedCaller('cert:a:b')));
  t.notOk(isSameCaller(callerOf('crm'), callerOf('erp')));
  t.notOk(isSameCaller(callerOf('crm'), ANONYMOUS));
  t.notOk(isSameCaller(sessionOf('a'), sessionOf('b')));
  t.notOk(isSameCaller(sessionOf('a'), ANONYMOUS), 'the user of an application is not the application');
  t.end();
});

t.test('only the right token is one, and nobody has none', (t) => {
  const register = new ChannelRegister({ clock: createFakeClock() });
  const issued = register.issue('a', mine, undefined)!;
  const open = register.issue('b', { ...mine, owner: NOBODY }, undefined)!;
  t.ok(showsToken(issued, issued.token));
  for (const wrong of [null, '', `${issued.token}x`, issued.token!.slice(1), 'A'.repeat(22)])
    t.notOk(showsToken(issued, wrong));
  t.equal(open.token, null);
  t.notOk(showsToken(open, '') || showsToken(open, 'null') || showsToken(open, null));
  t.end();
});

t.test('instances that share their records know one another’s channels, and one has each', async (t) => {
  const clock = createFakeClock();
  const kept = new MemoryRecords({ clock, max: 100 });
  const asked = { gets: 0, isAway: false };
  const reach = <T>(ask: () => Promise<T>): Promise<T> =>
    asked.isAway ? Promise.reject(new StoreError('absent', 'away')) : ask();
  const records: SharedRecords = {
    isShared: true,
    get(kind, id) {
      asked.gets += 1;
      return reach(() => kept.get(kind, id));
    },
    put: (...args) => reach(() => kept.put(...args)),
    delete: (...args) => reach(() => kept.delete(...args)),
  };
  const instance = () =>
    new Channels({ register: new ChannelRegister({ clock }), clock, records, mark: (owner) => `mark of ${owner}` });
  const [a, b] = [instance(), instance()];
  const made = await a.issue('one', mine, undefined);
  t.match(await b.find('one'), { owner: mine.owner, token: made?.token, credential: 'default' });
  const { gets } = asked;
  await Promise.all([b.find('one'), b.find('one')]);
  t.equal(asked.gets, gets, 'what is known is not asked for');
  t.equal(await instance().issue('one', { ...mine, owner: callerOf('erp') }, undefined), null, 'not another client’s');
  const both = await Promise.all([instance(), instance()].map((one) => one.issue('two', mine, undefined)));
  t.equal(both[0]?.token, both[1]?.token, 'made at two at once it has one address');

  for (const [at, text] of ['{', 'null', '[]', '{"owner":null}', '{"owner":{},"credential":1,"url":"x"}'].entries()) {
    await kept.put('chan', recordId(`bad ${at}`), text, { lifeMs: 60_000 });
    t.equal(await b.find(`bad ${at}`).catch(() => null), null, text);
  }
  asked.isAway = true;
  await t.rejects(instance().find('one'), { code: 'gateway.credential.unavailable', statusCode: 503 });
  t.ok(await b.find('one'), 'known here');
  t.ok((await a.issue('three', mine, undefined))?.token, 'its socket opens here');
  asked.isAway = false;
  t.equal(await b.find('three'), null);
  await a.tellAgain();
  t.ok(await b.find('three'));
  await clock.advance(25 * 3_600_000);
  t.equal(await instance().find('one'), null, 'it ends');
});
