// The table of failures of a shared store, each of its rows for real: two gateways with callers at both, and a Redis that
// is absent, locked, slow, frozen, killed, emptied, replaced, cut off, full or damaged under them. In every row nobody is
// told 401, nothing without a valid token reaches the platform, and it comes back by itself.

import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { COMMAND_DEADLINE_MS } from '../../src/redis/connection.ts';
import { fileSecret } from '../../src/secret.ts';
import {
  type Field,
  judge,
  outcomeOf,
  PATIENT_MS,
  personAt,
  prepareField,
  renewEverywhere,
  statesTold,
  statusAt,
  until,
  untilStore,
} from '../helpers/failing-store.ts';
import { credentialAt } from '../helpers/gateway.ts';
import type { Instance } from '../helpers/instances.ts';
import { startFront } from '../helpers/redis-front.ts';
import { type RedisProcess, startRedis, withoutRedis } from '../helpers/redis-process.ts';

/** Two gateways on a server, with a person who has logged in, and callers. */
async function twoOn(t: Test, urls: readonly [string, string], lifeSeconds = 86_400) {
  const field = await prepareField(t);
  const two = [await field.start(urls[0]), await field.start(urls[1])] as const;
  await Promise.all(two.map(({ gateway }) => gateway.ready));
  field.leaseIsOver();
  await field.logIn(two[0], lifeSeconds);
  for (const one of two) await until('the person is served', async () => (await personAt(one)).token !== 'none');
  return { field, two, load: await field.call() };
}

/** Both renew the person's token, and nobody waits for what comes of it. */
function refreshUnheard(two: readonly Instance[]): void {
  for (const { gateway } of two)
    void gateway
      .runtime()
      .credentials.get('person')
      ?.source.refresh()
      .catch(() => {});
}

/** What the status says of the store at an instance. */
const storeAt = async (instance: Instance) => (await statusAt(instance)).store;

/** The server refuses a write with that word until it is mended. */
async function refuseWrites(redis: RedisProcess, word: 'OOM' | 'MISCONF'): Promise<() => Promise<void>> {
  if (word === 'OOM') {
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    return async () => void (await redis.command('CONFIG', 'SET', 'maxmemory', '0'));
  }
  // Its dump cannot take the place of a folder.
  const inTheWay = join(redis.folder, 'dump.rdb');
  const save = async (status: string) => {
    await redis.command('BGSAVE');
    await redis.until(`saved: ${status}`, async () =>
      `${await redis.command('INFO', 'persistence')}`.includes(`rdb_last_bgsave_status:${status}`),
    );
  };
  mkdirSync(inTheWay);
  await redis.command('CONFIG', 'SET', 'save', '3600 1');
  await save('err');
  return async () => {
    rmdirSync(inTheWay);
    await save('ok');
  };
}

/** Somebody's refresh is held at the platform while `meanwhile` is done; it ends well for the one who asked. */
async function inMidRefresh(t: Test, { sandbox }: Field, { gateway }: Instance, meanwhile: () => Promise<void>) {
  sandbox.set({ tokenEndpoint: { fault: 'hang', next: 1 } });
  const source = gateway.runtime().credentials.get('person')?.source;
  await until('it waits at the platform', async () => {
    const held = sandbox.events.next('held').then(() => true);
    const refused = source?.refresh().then(
      () => false,
      () => false,
    );
    return Promise.race([held, refused ?? false]);
  });
  await meanwhile();
  sandbox.release();
  await until('it has ended', () => source?.state().renewal !== 'running');
  t.equal(source?.state().token, 'fresh');
}

t.test('two gateways whose store', { skip: withoutRedis }, async (t) => {
  t.jobs = 7;
  const row = (name: string, body: (t: Test) => Promise<void>) => t.test(name, { buffered: true }, body);

  row('is absent at the start serve what needs no person, and share when it comes', async (t) => {
    const redis = await startRedis(t);
    await redis.kill();
    const field = await prepareField(t);
    const two = [await field.start(redis.url), await field.start(redis.url)];
    await Promise.all(two.map(({ gateway }) => gateway.ready));
    await untilStore(t, two, /down/);
    for (const one of two) {
      t.equal(await outcomeOf(`${one.url}/api/v2/users`), '200');
      t.match(
        await outcomeOf(`${one.url}/person/api/v2/users/me`),
        /^50[34] gateway\.credential\.(unavailable|timeout)$/,
      );
      const unknown = { authorization: `Bearer gcgh_s${'A'.repeat(43)}` };
      t.equal(await outcomeOf(`${one.url}/api/v2/users`, unknown), '503 gateway.credential.unavailable');
      t.match(await storeAt(one), { state: 'down', server: null, error: /cannot be reached/, instances: [] });
    }
    await redis.start();
    await untilStore(t, two, /ok/);
    await field.logIn(two[0] as Instance);
    const load = await field.call();
    await renewEverywhere(t, field);
    judge(t, field, await load.stop(), { isPersonServed: false });
    for (const { log } of two) t.equal(log.lines.filter(({ msg }) => msg === 'the store is not connected').length, 1);
    await until('both are seen', async () => (await storeAt(two[0] as Instance)).instances?.length === 2);
  });

  row('asks for another password, or holds records of a later version, while they run', async (t) => {
    const redis = await startRedis(t, { password: 'canary-first' });
    const file = join(t.testdir(), 'password');
    writeFileSync(file, 'canary-first', { mode: 0o600 });
    const field = await prepareField(t);
    const store = { password: fileSecret(file) };
    const two = [await field.start(redis.url, store), await field.start(redis.url, store)];
    await Promise.all(two.map(({ gateway }) => gateway.ready));
    await field.logIn(two[0] as Instance);
    for (const one of two) await until('served', async () => (await personAt(one)).token === 'fresh');
    const load = await field.call();
    const disconnect = () => redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes');
    await redis.command('CONFIG', 'SET', 'requirepass', 'canary-second');
    await disconnect();
    await untilStore(t, two, /down/);
    for (const one of two) await until('it is told', async () => /WRONGPASS/.test((await storeAt(one)).error ?? ''));
    writeFileSync(file, 'canary-second', { mode: 0o600 });
    await untilStore(t, two, /ok/);
    await redis.command('HSET', '{gcg}:meta', 'schema', '2');
    await disconnect();
    await untilStore(t, two, /down/);
    for (const one of two)
      await until('it is told', async () => /later version/.test((await storeAt(one)).error ?? ''));
    await redis.command('HSET', '{gcg}:meta', 'schema', '1');
    await untilStore(t, two, /ok/);
    await renewEverywhere(t, field);
    judge(t, field, await load.stop(), { isPersonServed: true });
    for (const one of two) t.same(statesTold(one), ['down', 'ok', 'down', 'ok']);
    t.notMatch(JSON.stringify(two.map(({ log }) => log.lines)), /canary/);
  });

  row('dies in the middle of a refresh, comes back empty, and is told again', async (t) => {
    const redis = await startRedis(t);
    const { field, two, load } = await twoOn(t, [redis.url, redis.url]);
    const [a, b] = two;
    await inMidRefresh(t, field, a, () => redis.kill());
    await untilStore(t, two, /down/);
    await until('it is told what is written nowhere', async () => (await storeAt(a)).unwritten === 1);
    t.not((await personAt(a)).fingerprint, (await personAt(b)).fingerprint, 'the other cannot know');
    const shown = field.sandbox.stats.tokenRequests.refresh_token?.ok;
    await b.gateway
      .runtime()
      .credentials.get('person')
      ?.source.refresh()
      .catch(() => undefined);
    t.equal(field.sandbox.stats.tokenRequests.refresh_token?.ok, shown, 'and sends nothing');
    await redis.start();
    await untilStore(t, two, /ok/);
    await until('both have it', async () => (await personAt(a)).fingerprint === (await personAt(b)).fingerprint);
    await renewEverywhere(t, field);
    judge(t, field, await load.stop(), { isPersonServed: true });
    t.match(await storeAt(a), { unwritten: 0, error: null, gaps: 1 });
    const lines = two.flatMap(({ log }) => log.lines.filter(({ msg }) => /had lost/.test(msg)));
    t.ok(lines.length > 0 && lines.every(({ level, fields }) => level === 'warn' && Number(fields.entries) > 0));
    for (const one of two) t.same(statesTold(one), ['down', 'ok']);
  });

  row('is away when the token of a person ends: who has none is told to come again', async (t) => {
    const redis = await startRedis(t);
    const { field, two, load } = await twoOn(t, [redis.url, redis.url], 3);
    await redis.kill();
    const isRefused = async ({ url }: Instance) => /^50[34]/.test(await outcomeOf(`${url}/person/api/v2/users/me`));
    for (const one of two) await until('it has ended', () => isRefused(one));
    field.sandbox.set({ tokenLifetimeS: null });
    await redis.start();
    await untilStore(t, two, /ok/);
    for (const one of two) await until('the person is served again', async () => !(await isRefused(one)));
    const outcomes = await load.stop();
    judge(t, field, outcomes, { isPersonServed: false, isTokenEnding: true });
    t.ok([...outcomes.person.keys()].some((outcome) => outcome.startsWith('50')));
  });

  row('is slow is kept, and counts as gone', async (t) => {
    const redis = await startRedis(t, { tcp: true });
    const front = await startFront(t, redis.port);
    const url = `redis://127.0.0.1:${front.port}`;
    const { field, two, load } = await twoOn(t, [url, url]);
    field.deadlineMs = COMMAND_DEADLINE_MS;
    front.delayMs = 400;
    await untilStore(t, two, /degraded|down/);
    for (const one of two)
      t.match(await storeAt(one), { error: /(?:did not answer within 500|does not answer within 1000) ms|silent/ });
    front.delayMs = 0;
    field.deadlineMs = PATIENT_MS;
    await untilStore(t, two, /ok/);
    await renewEverywhere(t, field);
    judge(t, field, await load.stop(), { isPersonServed: true });
  });

  row('freezes and goes on gives no lock to nobody', async (t) => {
    const redis = await startRedis(t);
    const { field, two, load } = await twoOn(t, [redis.url, redis.url]);
    field.deadlineMs = COMMAND_DEADLINE_MS;
    redis.freeze();
    // What is sent now is done late, when nobody waits for it any more.
    refreshUnheard(two);
    await untilStore(t, two, /degraded|down/);
    redis.thaw();
    field.deadlineMs = PATIENT_MS;
    await untilStore(t, two, /ok/);
    await renewEverywhere(t, field);
    await redis.until('no lock is left', async () => (await redis.command<string[]>('KEYS', '*:lock:*')).length === 0);
    judge(t, field, await load.stop(), { isPersonServed: true });
  });

  row('fails over to a replica that has not heard of the last writes', async (t) => {
    const master = await startRedis(t, { tcp: true });
    const replica = await startRedis(t, { tcp: true });
    const link = await startFront(t, master.port);
    await replica.command('REPLICAOF', '127.0.0.1', String(link.port));
    await replica.until('it follows', async () =>
      `${await replica.command('INFO', 'replication')}`.includes('master_link_status:up'),
    );
    const front = await startFront(t, master.port);
    const url = `redis://127.0.0.1:${front.port}`;
    const { field, two, load } = await twoOn(t, [url, url]);
    await renewEverywhere(t, field);
    await master.until('the replica has it', async () => Number(await master.command('WAIT', '1', '1000')) === 1);
    link.isBlackHole = true;
    await renewEverywhere(t, field, 0);
    await master.kill();
    front.target = replica.port;
    await replica.command('REPLICAOF', 'NO', 'ONE');
    await untilStore(t, two, /ok/);
    await renewEverywhere(t, field);
    judge(t, field, await load.stop(), { isPersonServed: true });
    t.ok((await Promise.all(two.map(storeAt))).some(({ toldAgain }) => toldAgain > 0));
  });

  row('becomes a replica is left, until there is a master again', async (t) => {
    const redis = await startRedis(t);
    const other = await startRedis(t, { tcp: true });
    const { field, two, load } = await twoOn(t, [redis.url, redis.url]);
    await redis.command('REPLICAOF', '127.0.0.1', String(other.port));
    refreshUnheard(two);
    await untilStore(t, two, /down/);
    for (const one of two) t.match((await storeAt(one)).error, /replica/);
    await redis.command('REPLICAOF', 'NO', 'ONE');
    await untilStore(t, two, /ok/);
    await renewEverywhere(t, field);
    judge(t, field, await load.stop(), { isPersonServed: true });
  });

  row('is cut off from one of them only', async (t) => {
    const redis = await startRedis(t, { tcp: true });
    const front = await startFront(t, redis.port);
    const { field, two, load } = await twoOn(t, [`redis://127.0.0.1:${front.port}`, redis.url]);
    const [cutOff, other] = two;
    field.deadlineMs = COMMAND_DEADLINE_MS;
    front.isBlackHole = true;
    await untilStore(t, [cutOff], /down/);
    field.deadlineMs = PATIENT_MS;
    const { since } = await storeAt(cutOff);
    await renewEverywhere(t, { ...field, instances: [other] }, 0);
    t.match(await storeAt(other), { state: 'ok' });
    t.match(await storeAt(cutOff), { state: 'down', since });
    t.equal(await outcomeOf(`${cutOff.url}/person/api/v2/users/me`), '200', 'what it has is good');
    front.isBlackHole = false;
    await untilStore(t, two, /ok/);
    await until(
      'it hears of it',
      async () => (await personAt(cutOff)).fingerprint === (await personAt(other)).fingerprint,
    );
    await renewEverywhere(t, field, 0);
    judge(t, field, await load.stop(), { isPersonServed: true });
    t.same(statesTold(other), []);
  });

  for (const word of ['OOM', 'MISCONF'] as const) {
    row(`takes no writes in the middle of a refresh (${word})`, async (t) => {
      const redis = await startRedis(t);
      const { field, two, load } = await twoOn(t, [redis.url, redis.url]);
      const [a, b] = two;
      let mend = async () => {};
      await inMidRefresh(t, field, a, async () => {
        mend = await refuseWrites(redis, word);
      });
      await until('it is told', async () => new RegExp(word).test((await storeAt(a)).error ?? ''));
      await untilStore(t, [a], /degraded/);
      const shown = field.sandbox.stats.tokenRequests.refresh_token?.ok;
      const renewing = b.gateway.runtime().credentials.get('person')?.source;
      await renewing?.refresh().catch(() => undefined);
      t.equal(field.sandbox.stats.tokenRequests.refresh_token?.ok, shown, 'without a lock nothing is sent');
      await a.gateway.runtime().credentials.get('default')?.refresh();
      await mend();
      // At once, before it is told what it did not take.
      await renewing?.refresh().catch(() => undefined);
      await untilStore(t, two, /ok/);
      await renewEverywhere(t, field);
      judge(t, field, await load.stop(), { isPersonServed: true });
      t.match(await storeAt(a), { unwritten: 0, error: null });
    });
  }

  row('is that of two configurations keeps their tokens apart', async (t) => {
    const redis = await startRedis(t);
    const field = await prepareField(t);
    const other = credentialAt(field.origin, { clientId: '5a4d0b1e-0009-4000-8000-000000000009' });
    const one = await field.start(redis.url);
    await one.gateway.ready;
    const two = await field.start(redis.url, {}, [other]);
    await until('the other is refused', async () => (await statusAt(two)).credentials[0]?.renewal === 'rejected');
    t.equal(
      await outcomeOf(`${two.url}/api/v2/users`),
      '424 gateway.credential.rejected',
      'it has not the token of the first',
    );
    t.equal(await outcomeOf(`${one.url}/api/v2/users`), '200');
    t.equal(field.sandbox.stats.unknownTokenCalls, 0);
  });

  row('holds damaged records keeps them aside, and is written by who knows better', async (t) => {
    const redis = await startRedis(t);
    const { field, two, load } = await twoOn(t, [redis.url, redis.url]);
    const keys = await redis.command<string[]>('KEYS', '{gcg}:tok:*');
    for (const key of keys.filter((one) => /:(?:default|person)-/.test(one)))
      await redis.command('HSET', key, 'd', 'damaged', 'v', 'damaged');
    const third = await field.start(redis.url);
    await third.gateway.ready;
    const outcome = await outcomeOf(`${third.url}/person/api/v2/users/me`);
    // Or the others have told it already.
    t.match(outcome, /^(?:200|(?:424|503|504) gateway\..*)$/, 'the one that comes now knows nobody');
    t.match(await redis.command('KEYS', '*:damaged'), [/tok:/]);
    t.ok(third.log.lines.some(({ level, fields }) => level === 'error' && /kept in/.test(`${fields.error}`)));
    await renewEverywhere(t, field, 0);
    judge(t, field, await load.stop(), { isPersonServed: true });
    t.equal(two.length, 2);
  });
});
