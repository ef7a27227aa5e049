// Sessions and handles at several instances of one gateway: made at one, good at every other at once, ended everywhere.

import { hash } from 'node:crypto';
import t, { type Test } from 'tap';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { createGateway } from '../../src/gateway.ts';
import { inlineSecret, type SecretSource } from '../../src/secret.ts';
import { change } from '../helpers/admin.ts';
import { clientNamed, postToken } from '../helpers/clients.ts';
import { createTestLog } from '../helpers/gateway.ts';
import { type Instance, openSession, outcomeAt, type Shared, shareStore, untilOutcome } from '../helpers/instances.ts';
import { freePort } from '../helpers/proxies.ts';
import { startFront } from '../helpers/redis-front.ts';
import { withoutRedis } from '../helpers/redis-process.ts';
import { redisStore } from '../helpers/redis-store.ts';
import { closeOf, makeChannel, openWebSocket } from '../helpers/sockets.ts';

const USERS = '/api/v2/users';
const real = { skip: withoutRedis };
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const end = (url: string, headers: Record<string, string>) =>
  fetch(`${url}/api/v2/tokens/me`, { method: 'DELETE', headers });

t.test('a session opened at one is used at the others at once, and asked for once', real, async (t) => {
  const shared = await shareStore(t);
  const [a, b, c] = [await shared.start(), await shared.start(), await shared.start()];
  const headers = await openSession(a, shared);
  const calls = await Promise.all(
    [b, c, a].flatMap(({ url }) => Array.from({ length: 10 }, () => outcomeAt(url, headers))),
  );
  t.same(new Set(calls), new Set([200]));
  await shared.redis.command('CONFIG', 'RESETSTAT');
  for (let call = 0; call < 20; call += 1) await outcomeAt(b.url, headers);
  const stats = String(await shared.redis.command('INFO', 'commandstats'));
  const asked = Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  t.ok(asked < 10, `a call with a handle that is known asks nothing of the store: ${asked} in 20 calls`);
});

t.test('what ends at one is refused at the others, by a push, and its sockets are closed', real, async (t) => {
  const shared = await shareStore(t);
  const [a, b] = [await shared.start(), await shared.start()];
  const session = await openSession(a, shared);
  t.equal(await outcomeAt(b.url, session), 200);
  const issued = await postToken(a.url, { grant_type: 'client_credentials', client_id: 'x', client_secret: 'y' });
  const handle = { authorization: `Bearer ${issued.body.access_token}` };
  t.equal(await outcomeAt(b.url, handle, '/api/v2/users'), 200, 'a handle made at A is good at B');
  const sockets = [];
  for (const headers of [session, handle]) {
    const { connectUri } = await makeChannel(b.url, headers);
    sockets.push(await openWebSocket(t, connectUri, { headers }));
  }
  const closings = sockets.map((socket) => closeOf(socket));
  t.equal((await end(a.url, session)).status, 200);
  t.equal(
    (await untilOutcome('gateway.session.ended', 1_000, () => outcomeAt(b.url, session))).outcome,
    'gateway.session.ended',
  );
  t.equal((await end(a.url, handle)).status, 200);
  t.equal(
    (await untilOutcome('gateway.session.ended', 1_000, () => outcomeAt(b.url, handle, '/api/v2/users'))).outcome,
    'gateway.session.ended',
  );
  for (const closing of closings) t.equal((await closing).code, 1008);
  t.equal(await outcomeAt(a.url, session), 'gateway.session.ended');
});

t.test('1,000 of 1,000 sessions opened at one are used at another in the next moment', real, async (t) => {
  const shared = await shareStore(t);
  const [a, b] = [await shared.start(), await shared.start()];
  const { sessions } = b.gateway.runtime();
  let found = 0;
  const one = async () => {
    const { authorization } = await openSession(a, shared);
    const handle = authorization.slice('Bearer '.length);
    await sessions.fetchHandle(handle);
    if (sessions.find(handle) !== null) found += 1;
  };
  for (let opened = 0; opened < 1_000; opened += 50) await Promise.all(Array.from({ length: 50 }, one));
  t.equal(found, 1_000);
});

t.test(
  'unknown handles cost one trip each and are remembered; away, the store makes them no unknown ones',
  real,
  async (t) => {
    const shared = await shareStore(t);
    const [a, b] = [await shared.start(), await shared.start()];
    const made = { authorization: `Bearer gcgh_s${'A'.repeat(43)}` };
    const known = await openSession(a, shared);
    t.equal(await outcomeAt(b.url, known), 200);
    await shared.redis.command('CONFIG', 'RESETSTAT');
    for (let call = 0; call < 5; call += 1) t.equal(await outcomeAt(a.url, made), 'gateway.session.ended');
    const flood = Array.from({ length: 200 }, (_, n) => ({
      authorization: `Bearer gcgh_s${String(n).padStart(43, 'B')}`,
    }));
    t.same(new Set(await Promise.all(flood.map((one) => outcomeAt(a.url, one)))), new Set(['gateway.session.ended']));
    const stats = String(await shared.redis.command('INFO', 'commandstats'));
    const reads = Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1]);
    t.ok(reads >= 201 && reads <= 210, `one read each, and signs of life: ${reads}`);

    await shared.redis.kill();
    t.equal(await outcomeAt(b.url, known), 200, 'what is known goes on being served');
    const other = { authorization: `Bearer gcgh_s${'C'.repeat(43)}` };
    t.equal(await outcomeAt(a.url, other), 'gateway.credential.unavailable');
    const answer = await fetch(`${a.url}/api/v2/users`, { headers: other });
    t.match([answer.status, answer.headers.get('retry-after')], [503, '1']);
  },
);

t.test('what was ended while an instance was cut off is ended there when it is back', real, async (t) => {
  const shared = await shareStore(t);
  const [a, b] = [await shared.start(), await shared.start()];
  const session = await openSession(a, shared);
  const issued = await postToken(a.url, { grant_type: 'client_credentials', client_id: 'x', client_secret: 'y' });
  const handle = { authorization: `Bearer ${issued.body.access_token}` };
  t.same([await outcomeAt(b.url, session), await outcomeAt(b.url, handle, USERS)], [200, 200]);
  await shared.redis.kill();
  for (const headers of [session, handle]) t.equal((await end(a.url, headers)).status, 500, 'it is not confirmed');
  t.same(
    [await outcomeAt(a.url, session), await outcomeAt(a.url, handle, USERS)],
    ['gateway.session.ended', 'gateway.session.ended'],
    'it is ended here all the same',
  );
  t.same([await outcomeAt(b.url, session), await outcomeAt(b.url, handle, USERS)], [200, 200]);
  await shared.redis.restart({ empty: true });
  for (const headers of [session, handle])
    t.equal(
      (await untilOutcome('gateway.session.ended', 5_000, () => outcomeAt(b.url, headers, USERS))).outcome,
      'gateway.session.ended',
    );
});

t.test(
  'an instance that starts while the store is away answers 503 and never 401, until the store has answered',
  real,
  async (t) => {
    const shared = await shareStore(t);
    const a = await shared.start();
    const session = await openSession(a, shared);
    const form = { grant_type: 'client_credentials', client_id: 'x', client_secret: 'y' };
    const handle = { authorization: `Bearer ${(await postToken(a.url, form)).body.access_token}` };
    await shared.redis.kill();
    const b = await shared.start();
    for (const headers of [session, handle]) {
      const answer = await fetch(`${b.url}/api/v2/users`, { headers });
      t.match(
        [answer.status, answer.headers.get('x-gateway-error'), answer.headers.get('retry-after')],
        [503, 'gateway.credential.unavailable', '1'],
      );
    }
    t.equal((await postToken(b.url, form)).status, 503, 'none is issued that the others could not verify');
    t.same([await outcomeAt(a.url, session), await outcomeAt(a.url, handle, USERS)], [200, 200], 'A goes on');
    // Empty: A tells again what it knows.
    await shared.redis.restart({ empty: true });
    const seen = new Set<unknown>();
    for (const headers of [session, handle])
      await untilOutcome<unknown>(200, 10_000, async () => {
        const outcome = await outcomeAt(b.url, headers, USERS);
        seen.add(outcome);
        return outcome;
      });
    t.same(seen, new Set(['gateway.credential.unavailable', 200]));
  },
);

/** An instance that reaches the store through a front, and is cut off by `cutOff`. */
async function startBehind(t: Test, { redis, start }: Shared) {
  const front = await startFront(t, redis.port);
  const place = parseRedisUrl(`redis://127.0.0.1:${front.port}`);
  if (!place.ok) throw new Error(place.message);
  const a = await start({ place: place.value });
  const cutOff = async () => {
    front.target = await freePort();
    front.cut();
  };
  return { a, front, cutOff };
}

t.test(
  'an instance that is back first at an emptied store neither makes a key of its own nor answers 401',
  real,
  async (t) => {
    const shared = await shareStore(t, {}, { tcp: true });
    const { redis } = shared;
    const { a, front, cutOff } = await startBehind(t, shared);
    const form = { grant_type: 'client_credentials', client_id: 'x', client_secret: 'y' };
    const handle = bearer(`${(await postToken(a.url, form)).body.access_token}`);
    await redis.kill();
    const b = await shared.start();
    await cutOff();
    await redis.restart({ empty: true });
    await redis.until('B is back', async () => b.log.lines.some(({ msg }) => msg === 'the store is connected'));
    for (let call = 0; call < 3; call += 1) {
      t.equal(await outcomeAt(b.url, handle, USERS), 'gateway.credential.unavailable');
      t.equal((await postToken(b.url, form)).status, 503);
    }
    t.equal(await outcomeAt(a.url, handle, USERS), 200, 'A goes by what it knows');
    t.same(await redis.command('KEYS', '{gcg}:tok:gateway-handle-key-*'), []);
    front.target = redis.port;
    const seen = new Set<unknown>();
    await untilOutcome<unknown>(200, 20_000, async () => {
      const outcome = await outcomeAt(b.url, handle, USERS);
      seen.add(outcome);
      return outcome;
    });
    t.same(seen, new Set(['gateway.credential.unavailable', 200]));
    const made = bearer(`${(await postToken(b.url, form)).body.access_token}`);
    t.same([await outcomeAt(a.url, made, USERS), await outcomeAt(b.url, made, USERS)], [200, 200]);
  },
);

t.test(
  'an instance that starts at a store that was emptied beside others serves at once, and answers 503 and never 401',
  real,
  async (t) => {
    const shared = await shareStore(t, {}, { tcp: true });
    const { redis } = shared;
    const { a, front, cutOff } = await startBehind(t, shared);
    const session = await openSession(a, shared);
    const form = { grant_type: 'client_credentials', client_id: 'x', client_secret: 'y' };
    const handle = bearer(`${(await postToken(a.url, form)).body.access_token}`);
    await redis.kill();
    await cutOff();
    await redis.restart({ empty: true });
    const b = await shared.start();
    const made = bearer(`${(await postToken(b.url, form)).body.access_token}`);
    t.equal(await outcomeAt(b.url, made, USERS), 200, 'it may be the first of all');
    for (const headers of [session, handle])
      t.equal(await outcomeAt(b.url, headers, USERS), 'gateway.credential.unavailable');
    t.equal(await outcomeAt(a.url, made, USERS), 'gateway.credential.unavailable', 'nor does A know better');
    front.target = redis.port;
    for (const [url, headers] of [
      [b.url, session],
      [b.url, handle],
      [a.url, made],
    ] as const) {
      const seen = new Set<unknown>();
      await untilOutcome<unknown>(200, 20_000, async () => {
        const outcome = await outcomeAt(url, headers, USERS);
        seen.add(outcome);
        return outcome;
      });
      t.ok(seen.has(200));
      t.notOk(seen.has('gateway.session.ended'));
    }
  },
);

t.test(
  'encryption_key is changed from instance to instance; with a wrong one nothing is served or destroyed',
  real,
  async (t) => {
    const [oldKey, newKey, wrongKey] = ['1', '2', '3'].map((digit) => inlineSecret(digit.repeat(64), 'test'));
    const shared = await shareStore(t);
    const a = await shared.start({ encryptionKey: oldKey as SecretSource });
    const before = await openSession(a, shared);
    const form = { grant_type: 'client_credentials', client_id: 'x', client_secret: 'y' };
    const handle = { authorization: `Bearer ${(await postToken(a.url, form)).body.access_token}` };
    // First both keys are known everywhere, then the new one seals.
    const b = await shared.start({
      encryptionKey: newKey as SecretSource,
      encryptionKeyPrevious: oldKey as SecretSource,
    });
    t.same([await outcomeAt(b.url, before, USERS), await outcomeAt(b.url, handle, USERS)], [200, 200]);
    const after = await openSession(b, shared);
    const c = await shared.start({
      encryptionKey: oldKey as SecretSource,
      encryptionKeyPrevious: newKey as SecretSource,
    });
    t.same([await outcomeAt(c.url, before, USERS), await outcomeAt(c.url, after, USERS)], [200, 200]);

    const wrong = await shared.start({ encryptionKey: wrongKey as SecretSource });
    for (const headers of [before, after, handle])
      t.equal(await outcomeAt(wrong.url, headers, USERS), 'gateway.credential.unavailable');
    const d = await shared.start({
      encryptionKey: newKey as SecretSource,
      encryptionKeyPrevious: oldKey as SecretSource,
    });
    t.same(
      [await outcomeAt(d.url, before, USERS), await outcomeAt(d.url, handle, USERS)],
      [200, 200],
      'nothing was destroyed',
    );
  },
);

t.test('records that somebody wrote into Redis make no session, login or channel', real, async (t) => {
  const shared = await shareStore(t);
  const [a, b] = [await shared.start(), await shared.start()];
  const session = await openSession(a, shared);
  const other = await openSession(a, shared);
  const { redis } = shared;
  const keys = (await redis.command<string[]>('KEYS', '{gcg}:tok:session-*')).sort();
  t.equal(keys.length, 2);
  // The one in the place of the other: sealed by us, and bound to another key.
  const [first, second] = keys as [string, string];
  for (const field of ['d', 'v', 'g'])
    await redis.command('HSET', second, field, String(await redis.command('HGET', first, field)));
  const swapped = [await outcomeAt(b.url, session), await outcomeAt(b.url, other)];
  t.equal(swapped.filter((outcome) => outcome === 200).length, 1, `${swapped}`);
  const hostile = ['', 'x', '{', '{"format":"gcg-store-1"}', '\u0000'.repeat(10), 'a'.repeat(1_000_000)];
  for (const [at, data] of hostile.entries()) {
    const made = await openSession(a, shared);
    const [key] = (await redis.command<string[]>('KEYS', '{gcg}:tok:session-*')).filter(
      (one) => !keys.includes(one) && !one.endsWith(':damaged'),
    );
    keys.push(key as string);
    await redis.command('HSET', key as string, 'd', data, 'v', `v${at}`);
    t.not(await outcomeAt(b.url, made), 200, `${data.slice(0, 20)}`);
    t.equal(await outcomeAt(a.url, made), 200, 'where it is known it is served');
  }
  for (const type of ['SET', 'LPUSH', 'SADD']) {
    const made = await openSession(a, shared);
    const [key] = (await redis.command<string[]>('KEYS', '{gcg}:tok:session-*')).filter(
      (one) => !keys.includes(one) && !one.endsWith(':damaged'),
    );
    keys.push(key as string);
    await redis.command('DEL', key as string);
    await redis.command(type, key as string, 'x');
    t.equal(await outcomeAt(b.url, made), 'gateway.credential.unavailable', type);
  }
});

t.test(
  'there are never more sessions than may be, whatever becomes of the reply that names one too many',
  real,
  async (t) => {
    const shared = await shareStore(t, {}, { tcp: true });
    const { redis } = shared;
    const front = await startFront(t, redis.port);
    const start = async (url: string) => {
      const options = { log: createTestLog(), env: {}, sessionLimits: { max: 3, idleMs: 3_600_000 } };
      const gateway = await createGateway({ ...shared.config, store: redisStore(url) }, options);
      const [address] = (await gateway.listen()) as [string];
      t.teardown(() => gateway.drain());
      return { url: address, gateway, log: options.log };
    };
    const [a, b] = [await start(redis.url), await start(`redis://127.0.0.1:${front.port}`)];
    const opened: Record<string, string>[] = [];
    const open = async (at: Instance) => void opened.push(await openSession(at, shared));
    const known = async () => redis.command<number>('ZCARD', '{gcg}:idx:sess');
    for (const at of [a, b, a]) await open(at);
    for (const is of ['held', 'lost'] as const) {
      front.reply = { to: 'idx:sess', is };
      await open(b);
      t.equal(front.reply, null);
      front.release();
      t.equal(await known(), 4, 'the store goes on counting what nobody has ended');
      await open(a);
      t.equal(await known(), 3, is);
      // One that was not there asks the store for each.
      const c = await start(redis.url);
      const outcomes = await Promise.all(opened.map((headers) => outcomeAt(c.url, headers)));
      t.same(
        outcomes,
        outcomes.map((_, at) => (at < opened.length - 3 ? 'gateway.session.ended' : 200)),
      );
      for (const { url } of [a, b]) {
        const last = opened.length - 4;
        const ended = () => outcomeAt(url, opened[last] as Record<string, string>);
        t.equal((await untilOutcome('gateway.session.ended', 5_000, ended)).outcome, 'gateway.session.ended');
      }
    }
  },
);

t.test('a client blocked at one is blocked at all, whatever becomes of the store', real, async (t) => {
  const shared = await shareStore(t, {
    clients: [clientNamed('ops', { isAdmin: true }), clientNamed('crm'), clientNamed('bi')],
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
  });
  const { redis } = shared;
  const [a, b] = [await shared.start(), await shared.start()];
  const [crm, bi, ops] = [bearer('crm-secret'), bearer('bi-secret'), bearer('ops-secret')];
  const authFingerprint = hash('sha256', 'crm-secret').slice(0, 12);
  const session = await openSession(b, shared, { client: 'crm', authFingerprint });
  for (const headers of [crm, bi, session]) t.equal(await outcomeAt(b.url, headers, USERS), 200);
  const name = await redis.command<string>('HGET', '{gcg}:meta', 'gateway');
  const loop = await fetch(`${b.url}${USERS}`, { headers: { ...bi, 'x-gateway-instance': `other, ${name}` } });
  t.equal(loop.status, 508, 'a call that has passed an instance of this gateway');
  // One that is in no index, as where the store failed just then.
  await redis.command('DEL', '{gcg}:idx:sess', '{gcg}:idx:sess:n');
  const socket = await openWebSocket(t, (await makeChannel(b.url, crm)).connectUri);
  const closing = closeOf(socket);
  t.equal((await change(`${a.url}/-/clients/crm/block`, undefined, ops)).status, 200);
  t.equal((await closing).code, 1008, 'nobody calls B: it was told');
  t.equal(await outcomeAt(b.url, crm, USERS), 'gateway.client.unauthenticated');
  t.equal(b.gateway.runtime().sessions.size, 0, 'its sessions have ended there');

  const isBlockedAt = async (url: string) =>
    t.equal(await outcomeAt(url, crm, USERS), 'gateway.client.unauthenticated');
  const [entry = ''] = await redis.command<string[]>('KEYS', '{gcg}:tok:gateway-client-blocks-*');
  for (const [d, g] of [
    ['nonsense', '99999999999'],
    ['nonsense', '99999999999999'],
  ] as const) {
    await redis.command('HSET', entry, 'd', d, 'g', g, 'v', `${d}${g}`);
    const c = await shared.start();
    // It answers 503 until it knows: the others tell what was there.
    const seen = new Set<unknown>();
    await untilOutcome('gateway.client.unauthenticated' as unknown, 10_000, async () => {
      const outcome = await outcomeAt(c.url, crm, USERS);
      seen.add(outcome);
      return outcome;
    });
    t.notOk(seen.has(200), `${d} ${g}: ${[...seen]}`);
    for (const { url } of [a, b, c]) await isBlockedAt(url);
    await c.gateway.drain();
  }

  await redis.kill();
  const late = await shared.start();
  for (const headers of [crm, bi, ops])
    t.equal(await outcomeAt(late.url, headers, USERS), 'gateway.credential.unavailable', 'nobody can tell yet');
  t.equal(await outcomeAt(a.url, bi, USERS), 200);
  for (const { url } of [a, b]) await isBlockedAt(url);
  await redis.restart({ empty: true });
  t.equal((await untilOutcome<unknown>(200, 10_000, () => outcomeAt(late.url, bi, USERS))).outcome, 200);
  for (const { url } of [a, b, late]) await isBlockedAt(url);
  t.equal((await change(`${late.url}/-/clients/crm/unblock`, undefined, ops)).status, 200);
  for (const { url } of [a, b, late])
    t.equal((await untilOutcome<unknown>(200, 5_000, () => outcomeAt(url, crm, USERS))).outcome, 200);
});
