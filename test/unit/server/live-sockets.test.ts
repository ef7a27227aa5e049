import t from 'tap';
import { ANONYMOUS, type Caller } from '../../../src/auth/clients/caller.ts';
import { GatewayError } from '../../../src/errors.ts';
import { createLiveSockets, type Listener } from '../../../src/server/sockets/live-sockets.ts';
import { TICK_MS, type Tunnel } from '../../../src/upstream/sockets/tunnel.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const ENDED = new GatewayError('gateway.session.ended', 'over');
const byHandle = (id: string): Listener => ({ caller: { ...ANONYMOUS, handle: { id } } as unknown as Caller, credential: 'default' });

function tunnel(log: string[] = []): Tunnel & { log: string[] } {
  return {
    log,
    done: new Promise(() => {}),
    goAway: () => void log.push('1001'),
    expel: (words) => void log.push(`1008 ${words}`),
    tick: () => {},
    destroy: () => {},
  };
}

t.test('what ends without a word is noticed at the next tick, once', async (t) => {
  const clock = createFakeClock();
  const over = new Set<string | undefined>();
  const live = createLiveSockets({ clock, whyEnded: ({ caller }) => (over.has(caller.handle?.id) ? ENDED : null) });
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
  const live = createLiveSockets({ clock: createFakeClock() });
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
