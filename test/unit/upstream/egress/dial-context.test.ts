// One dial's deadline.

import { PassThrough } from 'node:stream';
import t from 'tap';
import type { Clock } from '../../../../src/clock.ts';
import { type DialContext, withinDeadline } from '../../../../src/upstream/egress/dial-context.ts';

function fakeClock() {
  let nowMs = 0;
  const timers = new Set<{ at: number; fn: () => void }>();
  const clock: Clock = {
    now: () => nowMs,
    monotonic: () => nowMs,
    after(delayMs, fn) {
      const timer = { at: nowMs + delayMs, fn };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
  };
  const advance = (ms: number) => {
    nowMs += ms;
    for (const timer of [...timers]) if (timer.at <= nowMs && timers.delete(timer)) timer.fn();
  };
  return { clock, advance, pending: () => timers.size };
}

const open = new AbortController().signal;

t.test('at the deadline it names what was waited for, and aborts', async (t) => {
  const { clock, advance } = fakeClock();
  let seen: DialContext | undefined;
  const dial = withinDeadline({ clock, limitMs: 5000, closed: open }, (context) => {
    seen = context;
    context.waitFor('gateway.proxy.timeout', 'the proxy http://p:1');
    return new Promise<PassThrough>(() => {});
  });
  advance(4999);
  t.equal(seen?.remainingMs(), 1);
  t.notOk(seen?.signal.aborted);
  advance(1);
  await t.rejects(dial, {
    code: 'gateway.proxy.timeout',
    message: 'no answer within 5000 ms (timeouts.connect) from the proxy http://p:1',
  });
  t.ok(seen?.signal.aborted);
  t.equal(seen?.remainingMs(), 0);
});

t.test('a socket that comes too late is destroyed, even when it errors', async (t) => {
  const { clock, advance } = fakeClock();
  let arrive: (socket: PassThrough) => void = () => {};
  const dial = withinDeadline(
    { clock, limitMs: 10, closed: open },
    () => new Promise<PassThrough>((resolve) => (arrive = resolve)),
  );
  advance(10);
  await t.rejects(dial);
  const late = new PassThrough();
  arrive(late);
  await new Promise((resolve) => setImmediate(resolve));
  t.ok(late.destroyed);
  late.emit('error', new Error('nobody else listens'));
});

t.test('a dial in time leaves no timer behind, nor does a failed one', async (t) => {
  const { clock, pending } = fakeClock();
  const socket = new PassThrough();
  t.equal(await withinDeadline({ clock, limitMs: 10, closed: open }, async () => socket), socket);
  await t.rejects(
    withinDeadline({ clock, limitMs: 10, closed: open }, async () => {
      throw new Error('refused');
    }),
    { message: 'refused' },
  );
  t.equal(pending(), 0);
  t.notOk(socket.destroyed);
});

t.test('closing ends it at once', async (t) => {
  const { clock, pending } = fakeClock();
  const closing = new AbortController();
  const dial = withinDeadline({ clock, limitMs: 10, closed: closing.signal }, () => new Promise<PassThrough>(() => {}));
  closing.abort();
  await t.rejects(dial, { code: 'gateway.draining' });
  t.equal(pending(), 0);
});
