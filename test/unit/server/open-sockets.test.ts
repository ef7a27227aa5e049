import t from 'tap';
import { ANONYMOUS, type Caller } from '../../../src/auth/callers/caller.ts';
import { GatewayError } from '../../../src/errors.ts';
import { OpenSockets, type SocketOwner, type SocketSlot } from '../../../src/server/websocket/open-sockets.ts';
import { TICK_MS, type Tunnel } from '../../../src/upstream/websocket/tunnel.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const ENDED = new GatewayError('gateway.session.ended', 'over');
const byHandle = (id: string): SocketOwner => ({
  caller: { ...ANONYMOUS, handle: { id } } as unknown as Caller,
  arrival: { isLocal: true },
  peer: '127.0.0.1',
  credential: 'default',
  channelId: `channel-of-${id}`,
});
let channels = 0;
const byClient = (name: string, channelId = `channel-${++channels}`): SocketOwner => ({
  caller: { ...ANONYMOUS, client: { name } } as unknown as Caller,
  arrival: { isLocal: true },
  peer: '127.0.0.1',
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
  const sockets = new OpenSockets({ clock, revalidate: ({ caller }) => (over.has(caller.handle?.id) ? ENDED : null) });
  const [one, other] = [tunnel(), tunnel()];
  sockets.acquire(byHandle('one')).attach(one);
  sockets.acquire(byHandle('other')).attach(other);
  await clock.advance(TICK_MS);
  t.same([one.log, other.log], [[], []]);
  over.add('one');
  await clock.advance(3 * TICK_MS);
  t.same([one.log, other.log], [['1008 gateway.session.ended'], []]);
});

t.test('an owner ends its own sockets, those that are being opened too, and none that took its slot', async (t) => {
  const sockets = new OpenSockets({ clock: createFakeClock() });
  const open = tunnel();
  const late = tunnel();
  const released = sockets.acquire(byHandle('one'));
  released.release();
  const slot = sockets.acquire(byHandle('one'));
  slot.attach(open);
  const opening = sockets.acquire(byHandle('one'));
  sockets.closeOwned('two', ENDED);
  sockets.closeOwned('one', ENDED);
  sockets.closeOwned('one', ENDED);
  t.same(open.log, ['1008 gateway.session.ended']);
  t.equal(slot.closeReason, ENDED);
  t.equal(opening.signal.reason, ENDED, 'its handshake is given up');
  opening.attach(late);
  t.same(late.log, ['1008 gateway.session.ended'], 'and where that was too late, the socket');
  t.equal(released.signal.aborted, false);
  for (const each of [slot, opening]) each.release();
  t.equal(sockets.count, 0);
});

/** How many slots each client holds that nobody took from it. */
function holdings(slots: Iterable<{ name: string; slot: SocketSlot }>): Record<string, number> {
  const held: Record<string, number> = {};
  for (const { name, slot } of slots) if (slot.closeReason === null) held[name] = (held[name] ?? 0) + 1;
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
    `of 20 slots ${JSON.stringify(before)}, then ${JSON.stringify(comes)}: ${JSON.stringify(after)}`,
    async (t) => {
      const sockets = new OpenSockets({ clock: createFakeClock(), max: 20 });
      const slots: { name: string; slot: SocketSlot; tunnel: ReturnType<typeof tunnel> }[] = [];
      let refused = 0;
      const come = (names: Readonly<Record<string, number>>) => {
        for (const [name, count] of Object.entries(names)) {
          for (let nth = 0; nth < count; nth += 1) {
            try {
              const one = { name, slot: sockets.acquire(byClient(name)), tunnel: tunnel() };
              one.slot.attach(one.tunnel);
              slots.push(one);
            } catch (error) {
              t.match(error, { code: 'gateway.rate.limited', statusCode: 429, retryAfterMs: 5_000 });
              refused += 1;
            }
            for (const { slot } of slots) if (slot.closeReason !== null) slot.release();
          }
        }
      };
      come(before);
      come(comes);
      t.same(holdings(slots), after);
      const lost = slots.filter(({ slot }) => slot.closeReason !== null);
      t.ok(lost.every(({ tunnel }) => tunnel.log.join() === '1013 gateway.rate.limited'));
      const asked = Object.values(comes).reduce((sum, count) => sum + count, 0);
      t.equal(
        asked - refused,
        sockets.count - Object.values(before).reduce((sum, count) => sum + count, 0) + lost.length,
      );
    },
  );
}

t.test('the newest gives way, a handshake too', async (t) => {
  const sockets = new OpenSockets({ clock: createFakeClock(), max: 2 });
  const [old, opening] = [sockets.acquire(byClient('a')), sockets.acquire(byClient('a'))];
  const slot = sockets.acquire(byClient('b'));
  t.match(opening.signal.reason, { code: 'gateway.rate.limited' });
  t.equal(old.signal.aborted, false);
  t.equal(slot.signal.aborted, false);
});

t.test('those that give way and are slow to go do not let their number grow without bound', async (t) => {
  const sockets = new OpenSockets({ clock: createFakeClock(), max: 20 });
  for (let nth = 0; nth < 20; nth += 1) sockets.acquire(byClient('a')).attach(tunnel());
  for (let nth = 0; nth < 10; nth += 1) {
    try {
      sockets.acquire(byClient('b')).attach(tunnel());
    } catch {
      // Once the others have gone there will be room.
    }
  }
  t.equal(sockets.count, 22);
});

t.test(
  'a channel has three sockets at most, whoever holds how many, and a slot that was freed counts no more, once',
  async (t) => {
    const sockets = new OpenSockets({ clock: createFakeClock() });
    const slots = [1, 2, 3].map(() => sockets.acquire(byClient('a', 'one')));
    t.throws(() => sockets.acquire(byClient('a', 'one')), { code: 'gateway.rate.limited', message: /channel/ });
    t.doesNotThrow(() => sockets.acquire(byClient('a', 'other')));
    slots[0]?.release();
    slots[0]?.release();
    t.doesNotThrow(() => sockets.acquire(byClient('a', 'one')));
    t.throws(() => sockets.acquire(byClient('a', 'one')), { code: 'gateway.rate.limited' });
  },
);
