import t from 'tap';
import { ANONYMOUS, type Caller } from '../../../src/auth/callers/caller.ts';
import { GatewayError } from '../../../src/errors.ts';
import { createOpenSockets, type Place, type SocketOwner } from '../../../src/server/websocket/open-sockets.ts';
import { TICK_MS, type Tunnel } from '../../../src/upstream/websocket/tunnel.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const ENDED = new GatewayError('gateway.session.ended', 'over');
const byHandle = (id: string): SocketOwner => ({
  caller: { ...ANONYMOUS, handle: { id } } as unknown as Caller,
  arrival: { isLocal: true },
  credential: 'default',
  channelId: `channel-of-${id}`,
});
let channels = 0;
const byClient = (name: string, channelId = `channel-${++channels}`): SocketOwner => ({
  caller: { ...ANONYMOUS, client: { name } } as unknown as Caller,
  arrival: { isLocal: true },
  credential: 'default',
  channelId,
});

function tunnel(log: string[] = []): Tunnel & { log: string[] } {
  return {
    log,
    done: new Promise(() => {}),
    goAway: () => void log.push('1001'),
    closeForPolicy: (words: string, code = 1008) => void log.push(`${code} ${words}`),
    tick: () => {},
    destroy: () => {},
  } as unknown as Tunnel & { log: string[] };
}

t.test('what ends without a word is noticed at the next tick, once', async (t) => {
  const clock = createFakeClock();
  const over = new Set<string | undefined>();
  const live = createOpenSockets({ clock, whyEnded: ({ caller }) => (over.has(caller.handle?.id) ? ENDED : null) });
  const [one, other] = [tunnel(), tunnel()];
  live.take(byHandle('one')).hold(one);
  live.take(byHandle('other')).hold(other);
  await clock.advance(TICK_MS);
  t.same([one.log, other.log], [[], []]);
  over.add('one');
  await clock.advance(3 * TICK_MS);
  t.same([one.log, other.log], [['1008 gateway.session.ended'], []]);
});

t.test('an owner ends its own sockets, those that are being opened too, and none that took its place', async (t) => {
  const live = createOpenSockets({ clock: createFakeClock() });
  const open = tunnel();
  const late = tunnel();
  const freed = live.take(byHandle('one'));
  freed.free();
  const place = live.take(byHandle('one'));
  place.hold(open);
  const opening = live.take(byHandle('one'));
  live.end('two', ENDED);
  live.end('one', ENDED);
  live.end('one', ENDED);
  t.same(open.log, ['1008 gateway.session.ended']);
  t.equal(place.lostBy, ENDED);
  t.equal(opening.signal.reason, ENDED, 'its handshake is given up');
  opening.hold(late);
  t.same(late.log, ['1008 gateway.session.ended'], 'and where that was too late, the socket');
  t.equal(freed.signal.aborted, false);
  for (const each of [place, opening]) each.free();
  t.equal(live.count, 0);
});

/** How many places each client holds that nobody took from it. */
function holdings(places: Iterable<{ name: string; place: Place }>): Record<string, number> {
  const held: Record<string, number> = {};
  for (const { name, place } of places) if (place.lostBy === null) held[name] = (held[name] ?? 0) + 1;
  return held;
}

for (const [before, comes, after] of [
  [{ a: 20 }, { b: 10 }, { a: 10, b: 10 }],
  [{ a: 20 }, { b: 15 }, { a: 10, b: 10 }],
  [{ a: 20 }, { a: 5 }, { a: 20 }],
  [
    { a: 11, b: 9 },
    { b: 1, a: 1 },
    { a: 10, b: 10 },
  ],
  [{ a: 10, b: 9, c: 1 }, { b: 5 }, { a: 10, b: 9, c: 1 }],
  [{ a: 18, b: 1, c: 1 }, { c: 20 }, { a: 10, b: 1, c: 9 }],
  [{ a: 5 }, { b: 20 }, { a: 5, b: 15 }],
] as const) {
  t.test(
    `of 20 places ${JSON.stringify(before)}, then ${JSON.stringify(comes)}: ${JSON.stringify(after)}`,
    async (t) => {
      const live = createOpenSockets({ clock: createFakeClock(), max: 20 });
      const places: { name: string; place: Place; tunnel: ReturnType<typeof tunnel> }[] = [];
      let refused = 0;
      const come = (names: Readonly<Record<string, number>>) => {
        for (const [name, count] of Object.entries(names)) {
          for (let nth = 0; nth < count; nth += 1) {
            try {
              const one = { name, place: live.take(byClient(name)), tunnel: tunnel() };
              one.place.hold(one.tunnel);
              places.push(one);
            } catch (error) {
              t.match(error, { code: 'gateway.rate.limited', statusCode: 429, retryAfterMs: 5_000 });
              refused += 1;
            }
            for (const { place } of places) if (place.lostBy !== null) place.free();
          }
        }
      };
      come(before);
      come(comes);
      t.same(holdings(places), after);
      const lost = places.filter(({ place }) => place.lostBy !== null);
      t.ok(lost.every(({ tunnel }) => tunnel.log.join() === '1013 gateway.rate.limited'));
      const asked = Object.values(comes).reduce((sum, count) => sum + count, 0);
      t.equal(asked - refused, live.count - Object.values(before).reduce((sum, count) => sum + count, 0) + lost.length);
    },
  );
}

t.test('the newest gives way, a handshake too', async (t) => {
  const live = createOpenSockets({ clock: createFakeClock(), max: 2 });
  const [old, opening] = [live.take(byClient('a')), live.take(byClient('a'))];
  const place = live.take(byClient('b'));
  t.match(opening.signal.reason, { code: 'gateway.rate.limited' });
  t.equal(old.signal.aborted, false);
  t.equal(place.signal.aborted, false);
});

t.test('those that give way and are slow to go do not let their number grow without bound', async (t) => {
  const live = createOpenSockets({ clock: createFakeClock(), max: 20 });
  for (let nth = 0; nth < 20; nth += 1) live.take(byClient('a')).hold(tunnel());
  for (let nth = 0; nth < 10; nth += 1) {
    try {
      live.take(byClient('b')).hold(tunnel());
    } catch {
      // Once the others have gone there will be room.
    }
  }
  t.equal(live.count, 22);
});

t.test(
  'a channel has three sockets at most, whoever holds how many, and a place that was freed counts no more, once',
  async (t) => {
    const live = createOpenSockets({ clock: createFakeClock() });
    const places = [1, 2, 3].map(() => live.take(byClient('a', 'one')));
    t.throws(() => live.take(byClient('a', 'one')), { code: 'gateway.rate.limited', message: /channel/ });
    t.doesNotThrow(() => live.take(byClient('a', 'other')));
    places[0]?.free();
    places[0]?.free();
    t.doesNotThrow(() => live.take(byClient('a', 'one')));
    t.throws(() => live.take(byClient('a', 'one')), { code: 'gateway.rate.limited' });
  },
);
