// Which connection carries a request, and which one is kept open for the next: real sockets, a clock of the tests' own.

import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { buildConnector } from 'undici';
import { type ErrorCode, GatewayError } from '../../../src/errors.ts';
import { ConnectionPool } from '../../../src/upstream/connection-pool.ts';
import type { WarmSettings } from '../../../src/upstream/origin-connections.ts';
import type { Carrier } from '../../../src/upstream/pooled-connection.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { startRawServer } from '../../helpers/raw-http.ts';

const HOUR_MS = 3_600_000;
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** A host, and a pool whose connections lead there. */
async function createScene(t: Test, warm: Partial<WarmSettings> = {}) {
  const clock = createFakeClock();
  const scene = {
    clock,
    /** Ahead of the clock, without a timer that fires: the process was stopped. */
    frozenMs: 0,
    answer: OK,
    requests: [] as { method: string; connection: number }[],
    sockets: [] as Socket[],
    dials: 0,
    dialError: null as ErrorCode | null,
    /** Dials wait here while it is set. */
    held: null as (() => void)[] | null,
    mayDial: true,
    isTrusted: true,
  };
  const server = await startRawServer(t, (socket) => {
    const connection = scene.sockets.push(socket);
    socket.setEncoding('latin1').on('data', (text: string) => {
      scene.requests.push({ method: text.split(' ', 1)[0] as string, connection });
      if (scene.answer === '') socket.resetAndDestroy();
      else socket.write(scene.answer);
    });
  });
  const dial: buildConnector.connector = (_options, callback) => {
    scene.dials += 1;
    if (scene.dialError !== null) {
      const error = new GatewayError(scene.dialError, 'refused by the test');
      return void setImmediate(() => callback(error, null));
    }
    const open = () => {
      const socket = connect(server.port, '127.0.0.1', () => callback(null, socket));
      // Of a dial in the background that the end of the test cuts.
      socket.on('error', () => {});
    };
    if (scene.held === null) open();
    else scene.held.push(open);
  };
  const createPool = (settings: Partial<WarmSettings>) => {
    const pool = new ConnectionPool({
      connect: dial,
      bodyMs: 60_000,
      clock: { now: clock.now, monotonic: () => clock.monotonic() + scene.frozenMs, after: clock.after },
      random: () => 0,
      mayDial: () => scene.mayDial,
      trusted: () => () => scene.isTrusted,
      warm: { keepWarmMs: HOUR_MS, hosts: null, ...settings },
    });
    t.teardown(() => pool.destroy());
    return pool;
  };
  const { origin } = server;
  const pool = createPool(warm);
  /** Resolves when its connection carries nothing any more. */
  const call = async (method: 'GET' | 'POST' = 'GET', to = pool, at = origin) => {
    const { body } = await to.request({ origin: at, path: '/', method });
    await body.text();
    await until(() => to.counts.active === 0);
    return scene.requests.at(-1)?.connection;
  };
  /** The other side ends all connections but those that `stay`. */
  const endAll = async (stay = 0) => {
    const last = scene.sockets.slice(0, scene.sockets.length - stay);
    for (const socket of last) socket.end();
    await until(() => last.every((socket) => socket.destroyed));
  };
  const isSpare = () => until(() => pool.counts.unused === 1);
  return Object.assign(scene, { origin, pool, createPool, call, endAll, isSpare });
}

type Scene = Awaited<ReturnType<typeof createScene>>;

/** Each is one whole story of one connection to a host that is used now and then. */
const STORIES: Record<string, { warm?: Partial<WarmSettings>; tell: (t: Test, scene: Scene) => Promise<void> }> = {
  'an idle connection carries the next call, minutes later': {
    async tell(t, scene) {
      await scene.call();
      await scene.clock.advance(6 * 60_000);
      t.equal(await scene.call(), 1);
      t.equal(scene.dials, 1);
    },
  },
  'one that the other side ends is opened again in the background, and carries the next call': {
    async tell(t, scene) {
      await scene.call();
      await scene.endAll();
      await scene.isSpare();
      t.same(scene.pool.counts, { active: 0, idle: 0, unused: 1 });
      t.equal(scene.requests.length, 1, 'without a request');
      t.equal(await scene.call(), 2);
      t.equal(scene.dials, 2);
    },
  },
  'so is one that a response ends': {
    async tell(t, scene) {
      scene.answer = OK.replace('\r\n', '\r\nConnection: close\r\n');
      await scene.call();
      await scene.isSpare();
      t.equal(await scene.call(), 2);
    },
  },
  'and one of which the other side says that it will not live': {
    async tell(t, scene) {
      scene.answer = OK.replace('\r\n', '\r\nKeep-Alive: timeout=2\r\n');
      await scene.call();
      await scene.isSpare();
      t.equal(await scene.call(), 2);
    },
  },
  'the one in the background is opened again too': {
    async tell(t, scene) {
      await scene.call();
      await scene.endAll();
      await scene.isSpare();
      await scene.clock.advance(60_000);
      await scene.endAll();
      await until(() => scene.dials === 3);
      await scene.isSpare();
      t.equal(await scene.call(), 3);
    },
  },
  'one that ends soon, unused, is opened again later, and later each time': {
    async tell(t, scene) {
      await scene.call();
      await scene.endAll();
      await scene.isSpare();
      for (const [nth, pauseMs] of [20_000, 40_000, 80_000].entries()) {
        await scene.clock.advance(1_000);
        await scene.endAll();
        await until(() => scene.pool.counts.unused === 0);
        await scene.clock.advance(pauseMs - 6_000);
        t.equal(scene.dials, 2 + nth);
        await scene.clock.advance(11_000);
        t.equal(scene.dials, 3 + nth);
        await scene.isSpare();
      }
    },
  },
  'one that speaks before it is asked is dropped': {
    async tell(t, scene) {
      await scene.call();
      await scene.endAll();
      await scene.isSpare();
      // The other side may hear of it a turn later.
      await until(() => scene.sockets.length === 2);
      scene.sockets[1]?.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison');
      await until(() => scene.pool.counts.unused === 0);
      t.equal(await scene.call(), 3);
    },
  },
  'a call that comes while one is opened takes it': {
    async tell(t, scene) {
      await scene.call();
      scene.held = [];
      await scene.endAll();
      await until(() => scene.held?.length === 1);
      const called = scene.call();
      const also = scene.call();
      await until(() => scene.held?.length === 2);
      for (const open of scene.held ?? []) open();
      await Promise.all([called, also]);
      t.equal(scene.dials, 3, 'and only the other one dials');
    },
  },
  'after an hour without a call nothing is open, dialled or looked at': {
    async tell(t, scene) {
      await scene.call();
      await scene.clock.advance(HOUR_MS - 20_000);
      t.ok(scene.pool.counts.idle + scene.pool.counts.unused === 1);
      await scene.clock.advance(30_000);
      t.same(scene.pool.counts, { active: 0, idle: 0, unused: 0 });
      const { dials } = scene;
      await until(() => scene.sockets.every((socket) => socket.destroyed));
      t.equal(scene.clock.pending, 0);
      await scene.clock.advance(HOUR_MS);
      t.equal(scene.dials, dials);
      t.equal(await scene.call(), dials + 1, 'the next call dials');
    },
  },
  'no connection is kept for more than ten minutes': {
    async tell(t, scene) {
      await scene.call();
      await scene.clock.advance(10 * 60_000);
      await scene.isSpare();
      t.equal(await scene.call(), 2);
      for (let nth = 0; nth < 21; nth += 1) {
        await scene.clock.advance(30_000);
        await scene.call();
      }
      t.equal(scene.dials, 3, 'nor where it is used again and again');
      scene.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no';
      const called = scene.call();
      await until(() => scene.requests.length === 24);
      await scene.clock.advance(11 * 60_000);
      scene.answer = OK;
      scene.sockets.at(-1)?.write('k');
      t.equal(await called, 3, 'what it carries is carried to the end');
      t.equal(await scene.call(), 4);
    },
  },
  'of the connections of a burst two stay for longer than a while': {
    async tell(t, scene) {
      await Promise.all(Array.from({ length: 5 }, () => scene.call()));
      t.equal(scene.pool.counts.idle, 5);
      await scene.clock.advance(31_000);
      t.equal(scene.pool.counts.idle, 2);
      await scene.clock.advance(60_000);
      t.equal(scene.pool.counts.idle, 2);
    },
  },
  'what was idle while the machine slept carries nothing': {
    async tell(t, scene) {
      await scene.call();
      scene.clock.stepWall(30_000);
      t.equal(await scene.call(), 2);
      await scene.endAll(1);
      await scene.endAll();
      await scene.isSpare();
      scene.clock.stepWall(30_000);
      t.equal(await scene.call(), 4, 'nor what was opened before it');
    },
  },
  'nor what was idle while the process was stopped': {
    async tell(t, scene) {
      await scene.call();
      scene.frozenMs += 30_000;
      scene.clock.stepWall(30_000);
      t.equal(await scene.call(), 2);
    },
  },
  'a clock that is set back, or goes on, ends nothing': {
    async tell(t, scene) {
      await scene.call();
      scene.clock.stepWall(-HOUR_MS);
      t.equal(await scene.call(), 1);
      for (let nth = 0; nth < 20; nth += 1) {
        scene.clock.stepWall(1_000);
        await scene.clock.advance(5_000);
      }
      t.equal(await scene.call(), 1);
    },
  },
  'a dial that was under way when the machine fell asleep is not used': {
    async tell(t, scene) {
      await scene.call();
      scene.held = [];
      await scene.endAll();
      await until(() => scene.held?.length === 1);
      const [open] = scene.held;
      scene.held = null;
      scene.clock.stepWall(30_000);
      t.equal(await scene.call(), 2);
      open?.();
      await until(() => scene.sockets.length === 3 && scene.sockets[2]?.destroyed === true);
    },
  },
  'what must not be sent twice goes by a connection that was used just now': {
    async tell(t, scene) {
      await scene.call('POST');
      await scene.clock.advance(4_000);
      t.equal(await scene.call('POST'), 1);
    },
  },
  'and not by one of which nobody knows how long it lives; that one stays': {
    async tell(t, scene) {
      await scene.call('POST');
      await scene.clock.advance(4_500);
      t.equal(await scene.call('POST'), 2);
      t.equal(scene.pool.counts.idle, 2);
      await scene.clock.advance(60_000);
      t.equal(await scene.call('GET'), 2, 'what may be sent twice takes it');
    },
  },
  'nor by an unused one that was opened long ago': {
    async tell(t, scene) {
      await scene.call();
      await scene.endAll();
      await scene.isSpare();
      await scene.clock.advance(30_000);
      t.equal(await scene.call('POST'), 3);
      t.equal(scene.pool.counts.unused, 1);
    },
  },
  'how long they live is seen, and then it goes by one that is younger': {
    async tell(t, scene) {
      await scene.call('POST');
      await scene.clock.advance(60_000);
      t.equal(await scene.call('POST'), 2);
      await scene.clock.advance(60_000);
      t.equal(await scene.call('POST'), 2, 'the first has lived for two minutes');
    },
  },
  'where the other side ends each at the same age, ours are ended before that, and replaced': {
    async tell(t, scene) {
      for (const dials of [2, 3]) {
        await scene.call();
        await scene.clock.advance(60_000);
        await scene.endAll();
        await until(() => scene.dials === dials);
        await scene.isSpare();
      }
      t.equal(await scene.call(), 3);
      await scene.clock.advance(57_900);
      t.equal(scene.dials, 3);
      await scene.clock.advance(200);
      await until(() => scene.dials === 4);
      await scene.isSpare();
      await scene.clock.advance(1_900);
      t.equal(await scene.call('POST'), 4, 'what must not be sent twice goes by the new one');
      await scene.clock.advance(57_000);
      scene.frozenMs += 1_500;
      t.equal(await scene.call(), 5, 'nor does a late look leave one to a call');
    },
  },
  'a call that fails by the end of its connection takes those with it that were idle for longer': {
    async tell(t, scene) {
      await Promise.all([scene.call(), scene.call()]);
      await scene.clock.advance(1_000);
      scene.answer = '';
      // Its handler tells, as that of calls does.
      const carried = { carrier: null as Carrier | null };
      await new Promise<void>((resolve) => {
        const handler = Object.assign(carried, {
          onConnect() {},
          onHeaders: () => true,
          onData: () => true,
          onComplete() {},
          onError() {
            carried.carrier?.suspect();
            resolve();
          },
        });
        scene.pool.dispatch({ origin: scene.origin, path: '/', method: 'GET' }, handler);
      });
      scene.answer = OK;
      t.equal(scene.pool.counts.idle, 0);
      t.ok(((await scene.call()) ?? 0) > 2);
    },
  },
  'while the host cannot be reached, nothing is dialled in the background': {
    async tell(t, scene) {
      await scene.call();
      scene.mayDial = false;
      await scene.endAll();
      await scene.clock.advance(120_000);
      t.equal(scene.dials, 1);
      scene.mayDial = true;
      await scene.clock.advance(5_000);
      t.equal(scene.dials, 2);
    },
  },
  'a dial in the background that fails is tried again, more and more seldom': {
    async tell(t, scene) {
      await scene.call();
      scene.dialError = 'gateway.upstream.unreachable';
      await scene.endAll();
      await scene.clock.advance(600_000);
      t.ok(scene.dials > 10 && scene.dials < 25, `${scene.dials} dials in ten minutes`);
      scene.dialError = null;
      await scene.clock.advance(65_000);
      await scene.isSpare();
    },
  },
  'but not where trying again is of no use, or does harm, until a call has got through': {
    async tell(t, scene) {
      await scene.call();
      for (const code of ['gateway.proxy.auth', 'gateway.proxy.refused', 'gateway.upstream.tls'] as const) {
        scene.dialError = code;
        const { dials } = scene;
        await scene.endAll();
        await scene.clock.advance(600_000);
        t.equal(scene.dials, dials + 1, code);
        await t.rejects(scene.call(), { code });
        await scene.clock.advance(600_000);
        t.equal(scene.dials, dials + 2, code);
        scene.dialError = null;
        await scene.call();
        await scene.endAll();
        await scene.isSpare();
        await scene.call();
      }
    },
  },
  'nor is it dialled where a call has failed by that': {
    async tell(t, scene) {
      scene.dialError = 'gateway.proxy.auth';
      await t.rejects(scene.call(), { code: 'gateway.proxy.auth' });
      await scene.clock.advance(600_000);
      t.equal(scene.dials, 1);
    },
  },
  'connections that the trust files of today did not verify are ended, and opened anew': {
    async tell(t, scene) {
      await scene.call();
      scene.isTrusted = false;
      await scene.clock.advance(5_000);
      scene.isTrusted = true;
      await scene.isSpare();
      t.equal(await scene.call(), 2);
    },
  },
  'where nothing is to be kept, nothing is dialled but for a call': {
    warm: { keepWarmMs: 0 },
    async tell(t, scene) {
      await scene.call();
      t.equal(await scene.call(), 1);
      await scene.clock.advance(5_000);
      t.same(scene.pool.counts, { active: 0, idle: 0, unused: 0 });
      t.equal(scene.clock.pending, 0);
      t.equal(scene.dials, 1);
    },
  },
  'a reload that turns it off ends what is idle; one that turns it on needs a call': {
    async tell(t, scene) {
      await scene.call();
      scene.pool.keepWarm({ keepWarmMs: 0, hosts: null });
      t.same(scene.pool.counts, { active: 0, idle: 0, unused: 0 });
      await scene.call();
      await scene.endAll();
      await until(() => scene.pool.counts.idle === 0);
      await scene.clock.advance(60_000);
      t.equal(scene.dials, 2);
      scene.pool.keepWarm({ keepWarmMs: HOUR_MS, hosts: null });
      await scene.isSpare();
      t.equal(await scene.call(), 3);
    },
  },
  'a host that the configuration does not lead to any more is not kept': {
    async tell(t, scene) {
      await scene.call();
      await scene.clock.advance(10_000);
      scene.pool.keepWarm({ keepWarmMs: HOUR_MS, hosts: new Map([['http://elsewhere.test', 'http://login.test']]) });
      t.same(scene.pool.counts, { active: 0, idle: 0, unused: 0 });
      await scene.clock.advance(60_000);
      t.equal(scene.dials, 1);
      scene.pool.keepWarm({ keepWarmMs: HOUR_MS, hosts: new Map([['http://api.test', scene.origin]]) });
      await scene.isSpare();
    },
  },
  'the pool of another way out opens what the one before it kept': {
    async tell(t, scene) {
      await scene.call();
      const next = scene.createPool({});
      next.keepWarm({ keepWarmMs: HOUR_MS, hosts: null }, scene.pool);
      scene.pool.keepWarm({ keepWarmMs: 0, hosts: null });
      await until(() => next.counts.unused === 1);
      t.same(scene.pool.counts, { active: 0, idle: 0, unused: 0 });
      t.equal(await scene.call('GET', next), 2);
    },
  },
  'while calls go to an API host, the login host that belongs to it is kept as well': {
    async tell(t, scene) {
      const login = scene.origin.replace('127.0.0.1', 'localhost');
      scene.pool.keepWarm({ keepWarmMs: HOUR_MS, hosts: new Map([[scene.origin, login]]) });
      await scene.call();
      await scene.clock.advance(5_000);
      t.equal(scene.dials, 2);
      await scene.isSpare();
      t.equal(await scene.call('POST', scene.pool, login), 2, 'a token request finds it there');
    },
  },
  'a host that is both is kept once': {
    async tell(t, scene) {
      scene.pool.keepWarm({ keepWarmMs: HOUR_MS, hosts: new Map([[scene.origin, scene.origin]]) });
      await scene.call();
      await scene.clock.advance(60_000);
      t.equal(scene.dials, 1);
    },
  },
  'a request that cannot be written takes no connection from the next': {
    async tell(t, scene) {
      await scene.call();
      for (let nth = 0; nth < 3; nth += 1)
        await t.rejects(
          scene.pool.request({ origin: scene.origin, path: '/', method: 'GET', headers: { expect: '100-continue' } }),
        );
      t.equal(await scene.call(), 1);
      t.equal(scene.dials, 1);
    },
  },
  'close waits for what is under way, and ends the rest': {
    async tell(t, scene) {
      await Promise.all([scene.call(), scene.call()]);
      scene.answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no';
      const { body } = await scene.pool.request({ origin: scene.origin, path: '/', method: 'GET' });
      const closed = scene.pool.close();
      await until(() => scene.sockets.filter((socket) => socket.destroyed).length === 1);
      for (const socket of scene.sockets) if (!socket.destroyed) socket.write('k');
      t.equal(await body.text(), 'ok');
      await closed;
      await until(() => scene.sockets.every((socket) => socket.destroyed));
      t.equal(scene.clock.pending, 0);
      await t.rejects(scene.call(), { code: 'UND_ERR_CLOSED' });
      t.equal(scene.dials, 2);
    },
  },
  'destroy ends all, and a dial in the background with them': {
    async tell(t, scene) {
      await scene.call();
      scene.held = [];
      await scene.endAll();
      await until(() => scene.held?.length === 1);
      await scene.pool.destroy();
      scene.held[0]?.();
      await until(() => scene.sockets.length === 2 && scene.sockets[1]?.destroyed === true);
      t.equal(scene.clock.pending, 0);
    },
  },
};

for (const [name, { warm, tell }] of Object.entries(STORIES))
  t.test(name, async (t) => tell(t, await createScene(t, warm)));
