import t from 'tap';
import { createSwitchBoard, formatRetryAfter, SWITCHES_OFF, type Switches } from '../../../src/sandbox/switches.ts';

const call = { method: 'GET', path: '/api/v2/users' };

t.test('everything is off unless asked for', async (t) => {
  const board = createSwitchBoard();
  t.same(board.now, SWITCHES_OFF);
  t.equal(board.take('serverError', call), undefined);
});

t.test('next: acts on that many calls and no more', async (t) => {
  const board = createSwitchBoard({ cutBody: { next: 2 } });
  t.same(
    [1, 2, 3, 4].map(() => board.take('cutBody', call) !== undefined),
    [true, true, false, false],
  );
});

t.test('every: acts on each kth call', async (t) => {
  const board = createSwitchBoard({ cutBody: { every: 3 } });
  t.same(
    [1, 2, 3, 4, 5, 6].map(() => board.take('cutBody', call) !== undefined),
    [false, false, true, false, false, true],
  );
});

t.test('a call of another method or path is neither hit nor counted', async (t) => {
  const board = createSwitchBoard({ cutBody: { next: 1, method: 'POST', path: '/api/v2/users' } });
  t.equal(board.take('cutBody', call), undefined);
  t.equal(board.take('cutBody', { method: 'POST', path: '/api/v2/tokens/me' }), undefined);
  t.ok(board.take('cutBody', { method: 'POST', path: '/api/v2/users/x' }));
});

t.test('setting a switch again starts its count anew and leaves the others', async (t) => {
  const board = createSwitchBoard({ cutBody: { next: 1 }, latencyMs: 5 });
  board.take('cutBody', call);
  board.set({ cutBody: { next: 1 } });
  t.ok(board.take('cutBody', call));
  t.equal(board.now.latencyMs, 5);
});

t.test('a switch that does not exist is named, and nothing is set', async (t) => {
  const board = createSwitchBoard();
  t.throws(() => board.set({ latencyMs: 5, latncy: 9 } as Partial<Switches>), /no such switch: latncy/);
  t.equal(board.now.latencyMs, 0);
});

t.test('Retry-After is seconds, or a date no sooner than they end', async (t) => {
  const now = Date.UTC(2026, 0, 1, 0, 0, 0, 500);
  t.equal(formatRetryAfter({}, now), undefined);
  t.equal(formatRetryAfter({ retryAfterS: 7 }, now), '7');
  t.equal(formatRetryAfter({ retryAfterS: 7, retryAfterAs: 'date' }, now), 'Thu, 01 Jan 2026 00:00:08 GMT');
});
