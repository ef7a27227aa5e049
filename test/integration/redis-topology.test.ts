// Where a shared store is: behind Sentinels, in a cluster, a replica, with TLS; with real servers.

import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { Script } from '../../src/redis/script.ts';
import { inlineSecret } from '../../src/secret.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { freePort } from '../helpers/proxies.ts';
import { startCluster, startRedis, startSentinel, withoutRedis } from '../helpers/redis-process.ts';
import { openConnection, redisStore, type WatchedConnection } from '../helpers/redis-store.ts';

const WRITE = new Script('write', "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]", { keys: ['a'], args: ['1'] });
const write = ({ connection }: WatchedConnection, text: string) =>
  connection.script({ script: WRITE, keys: ['{gcg}:a'], args: [text] });

t.test('a shared store', { skip: withoutRedis }, async (t) => {
  t.jobs = 3;
  const test = (name: string, body: (t: Test) => Promise<void>) => t.test(name, { buffered: true }, body);

  test('that is a replica is refused at the start, and left when it becomes one', async (t) => {
    const master = await startRedis(t, { tcp: true });
    const replica = await startRedis(t, { replicaOf: master });
    await t.rejects(openConnection(t, redisStore(replica.url)), {
      kind: 'unusable',
      message: /replica.*store\.sentinel/,
    });
    const watched = await openConnection(t, redisStore(master.url));
    const other = await startRedis(t, { tcp: true });
    await master.command('REPLICAOF', '127.0.0.1', String(other.port));
    await t.rejects(write(watched, 'x'), { word: 'READONLY', message: /replica/ });
    await watched.until('it is told', () => /is a replica/.test(watched.connection.status().error ?? ''));
    await master.command('REPLICAOF', 'NO', 'ONE');
    await watched.until('it is back', () => watched.connection.isReady);
    t.equal(await write(watched, 'y'), 'y');
    t.equal(watched.gaps.length, 1);
  });

  test('behind Sentinels is found by the name of its master, and again after a failover', async (t) => {
    const master = await startRedis(t, { tcp: true, password: 'canary-redis' });
    const replica = await startRedis(t, { tcp: true, replicaOf: master, password: 'canary-redis' });
    const lines = ['sentinel auth-pass mymaster canary-redis'];
    const sentinel = await startSentinel(t, { name: 'mymaster', master, password: 'canary-sentinel', lines });
    const store = (more: object) =>
      redisStore(`redis://127.0.0.1:${sentinel.port}`, {
        sentinel: 'mymaster',
        sentinelPassword: inlineSecret('canary-sentinel', 'test'),
        password: inlineSecret('canary-redis', 'test'),
        ...more,
      });
    await t.rejects(openConnection(t, store({ sentinel: 'other' })), { kind: 'unusable', message: /"other"/ });
    const wrong = store({ sentinelPassword: inlineSecret('canary-no', 'test') });
    await t.rejects(openConnection(t, wrong), { word: 'WRONGPASS', message: /store\.sentinel_password/ });
    const noName = redisStore(`redis://127.0.0.1:${sentinel.port}`, {
      password: inlineSecret('canary-sentinel', 'test'),
    });
    await t.rejects(openConnection(t, noName), { kind: 'unusable', message: /set store\.sentinel/ });
    const noSentinel = redisStore(`redis://127.0.0.1:${master.port}`, {
      sentinel: 'mymaster',
      sentinelPassword: inlineSecret('canary-redis', 'test'),
    });
    await t.rejects(openConnection(t, noSentinel), { kind: 'unusable', message: /no Sentinel/ });

    const watched = await openConnection(t, store({}));
    t.equal(watched.connection.status().server, `127.0.0.1:${master.port}`);
    t.equal(await write(watched, 'x'), 'x');
    await replica.until('synchronised', async () => (await replica.command('GET', '{gcg}:a')) === 'x');
    const killedAt = Date.now();
    await master.kill();
    await watched.until('the other is master', () => watched.gaps.length === 1);
    t.comment(`back after ${Date.now() - killedAt} ms`);
    t.equal(watched.connection.status().server, `127.0.0.1:${replica.port}`);
    t.equal(await write(watched, 'y'), 'y');
    t.match(watched.gaps, [{ isEmptied: false }], 'another server with the same records');
    t.notMatch(watched.lines.join(), /canary/);
  });

  test('is found where one of three Sentinels hangs, and waited for where none answers', async (t) => {
    const master = await startRedis(t, { tcp: true });
    const all = await Promise.all([0, 1, 2].map(() => startSentinel(t, { name: 'm', master })));
    const url = all.map(({ port }) => `redis://127.0.0.1:${port}`).join(',');
    all[0]?.freeze();
    // No deadline ends on a clock that stands: the other two are a majority.
    const watched = await openConnection(t, redisStore(url, { sentinel: 'm' }), { clock: createFakeClock() });
    t.ok(watched.connection.isReady);
    await Promise.all(all.map((one) => one.close()));
    const absent = await openConnection(t, redisStore(url, { sentinel: 'm' }));
    t.match(absent.failure, { kind: 'offline', message: /no Sentinel answers/ });
  });

  test('in a cluster is found at the node that has our keys, whichever node is named', async (t) => {
    const nodes = await startCluster(t);
    for (const node of nodes) {
      const heard: string[] = [];
      const watched = await openConnection(t, redisStore(`redis://127.0.0.1:${node.port}`), {
        prepare: (connection) => connection.subscribe('{gcg}:rev', (message) => void heard.push(message)),
      });
      t.equal(await write(watched, 'x'), 'x');
      const owner = nodes.find(({ port }) => watched.connection.status().server === `127.0.0.1:${port}`);
      t.equal(await owner?.command('GET', '{gcg}:a'), 'x');
      const other = nodes.find((one) => one !== owner);
      await other?.command('PUBLISH', '{gcg}:rev', 'x');
      await watched.until('messages cross the nodes', () => heard.length === 1);
      if (node === owner) continue;
      // The node that is configured dies; the one with our keys closes the connection.
      await node.kill();
      await owner?.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await watched.until('it is found without the first', () => watched.gaps.length === 1);
      await node.start();
      await node.until('whole', async () => `${await node.command('CLUSTER', 'INFO')}`.includes('state:ok'));
    }
  });

  test('with TLS is verified, by our CA and by its name', async (t) => {
    const [ca, foreign] = [await createTestCa(), await createTestCa('Another CA')];
    t.teardown(() => void [ca.close(), foreign.close()]);
    const files = { ...ca.issue(['localhost']), caFile: ca.caFile };
    const redis = await startRedis(t, { tcp: true, tls: files });
    const url = `rediss://localhost:${redis.tlsPort}`;
    const clock = createFakeClock();
    const watched = await openConnection(t, redisStore(url, { caFile: ca.caFile }), { clock });
    t.equal(await write(watched, 'x'), 'x');
    const rows: [what: string, store: ReturnType<typeof redisStore>, kind: string, message: RegExp][] = [
      ['no CA', redisStore(url), 'unusable', /set store\.ca_file/],
      ['another CA', redisStore(url, { caFile: foreign.caFile }), 'unusable', /set store\.ca_file/],
      [
        'another name',
        redisStore(`rediss://127.0.0.1:${redis.tlsPort}`, { caFile: ca.caFile }),
        'unusable',
        /another name/,
      ],
      ['plain to a TLS port', redisStore(`redis://localhost:${redis.tlsPort}`), 'offline', /needs rediss:\/\//],
      ['TLS to a plain port', redisStore(`rediss://localhost:${redis.port}`), 'offline', /does not (?:speak|answer)/],
      ['nothing there', redisStore(`rediss://localhost:${await freePort()}`), 'offline', /nothing listens/],
    ];
    for (const [what, store, kind, message] of rows) {
      // Only the deadline ends a handshake with a server that does not speak TLS.
      const clock = what.startsWith('TLS') ? { clock: systemClock } : {};
      const outcome = await openConnection(t, store, clock).then(
        ({ failure }) => failure,
        (error) => error,
      );
      t.match(outcome, { kind, message }, what);
    }
  });

  test('with TLS that asks for a certificate gets ours', async (t) => {
    const ca = await createTestCa();
    t.teardown(() => ca.close());
    const redis = await startRedis(t, {
      tls: { ...ca.issue(['localhost']), caFile: ca.caFile },
      asksForCertificates: true,
    });
    const own = ca.issue(['gateway']);
    const store = (more: object) => redisStore(`rediss://localhost:${redis.tlsPort}`, { caFile: ca.caFile, ...more });
    const ours = store({ certFile: own.certFile, keyFile: own.keyFile });
    const watched = await openConnection(t, ours, { clock: createFakeClock() });
    t.equal(await write(watched, 'x'), 'x');
    const outcome = await openConnection(t, store({})).then(
      ({ failure }) => failure,
      (error) => error,
    );
    t.match(outcome, { message: /certificate|closed the connection/ });
  });
});
