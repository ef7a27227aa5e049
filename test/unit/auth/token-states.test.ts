// The table of docs/tokens.md, "A caller arrives" and "A 401", row by row over every pair of states; and whatever may
// happen in whatever order.

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import {
  type AcquireReason,
  type RenewalState,
  type Token,
  TokenFailure,
  type TokenFailureKind,
  type TokenState,
} from '../../../src/auth/credentials/token-source.ts';
import { isGatewayError } from '../../../src/errors.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { sourceUnderTest, tokenFor } from './fixtures.ts';

const LIFE_MS = 1_000_000;
const ROUTE = '/api/v2/users';
const OTHER_ROUTE = '/api/v2/routing/queues';
const CODES = {
  transient: 'gateway.credential.unavailable',
  refused: 'gateway.credential.rejected',
  login_required: 'gateway.login.required',
};

const TOKENS: readonly TokenState[] = ['none', 'fresh', 'due', 'suspect', 'expired'];
const RENEWALS: readonly RenewalState[] = ['idle', 'running', 'backoff', 'rejected', 'login_required'];
const OUTCOME: Partial<Record<RenewalState, TokenFailureKind>> = {
  backoff: 'transient',
  rejected: 'refused',
  login_required: 'login_required',
};

/** Pairs that cannot be: an attempt begins with the state. */
const IMPOSSIBLE = new Set(['due idle', 'suspect idle']);

/**
 * A source in the given pair of states, after a token of its own where there is to be one; its next attempts answer as
 * `later` does.
 */
async function sourceIn(token: TokenState, renewal: RenewalState, later: (clock: FakeClock) => Token | Promise<Token>) {
  const hangs = () => new Promise<never>(() => undefined);
  const fails = (kind: TokenFailureKind) => () => {
    throw new TokenFailure(kind, 'as the test has it', { retryAfterMs: kind === 'transient' ? 20_000 : undefined });
  };
  const kind = OUTCOME[renewal];
  let next: (clock: FakeClock) => Token | Promise<Token> = (clock) => tokenFor(clock, LIFE_MS, 'first');
  const under = sourceUnderTest([(clock) => next(clock)]);
  const { source, clock } = under;
  const first = token === 'none' ? null : await source.token();
  await clock.advance(2_000);
  next = renewal === 'running' ? hangs : kind === undefined ? later : fails(kind);
  // Its timer would go on to the next state by itself.
  if (token === 'expired') source.close();
  if (token === 'due') await clock.advance(LIFE_MS * 0.9);
  else if (token === 'suspect') source.invalidate(first as Token, ROUTE);
  else if (token === 'expired') clock.stepWall(2 * LIFE_MS);
  if (renewal !== 'idle' && token !== 'due' && token !== 'suspect') source.refresh().catch(() => undefined);
  await clock.settle();
  next = later;
  return { ...under, first };
}

const outcomeOf = (promise: Promise<Token>) =>
  promise.then(
    ({ authorization }) => authorization,
    (error: unknown) => (isGatewayError(error) ? error.code : String(error)),
  );

for (const token of TOKENS) {
  for (const renewal of RENEWALS) {
    const isUsable = token === 'fresh' || token === 'due' || token === 'suspect';
    const kind = OUTCOME[renewal];
    if (IMPOSSIBLE.has(`${token} ${renewal}`)) continue;

    t.test(`a caller arrives: token ${token}, renewal ${renewal}`, async (t) => {
      const { source, clock, reasons } = await sourceIn(token, renewal, (clock) => tokenFor(clock, LIFE_MS, 'next'));
      t.match(source.state(), { token, renewal });
      const attempts = reasons.length;
      const outcome = outcomeOf(source.token());
      await clock.advance(10_000);
      if (isUsable) t.equal(await outcome, 'Bearer first', 'the token at hand, in every renewal state');
      else if (renewal === 'idle') t.equal(await outcome, 'Bearer next', 'an attempt starts');
      else if (renewal === 'running')
        t.equal(await outcome, 'gateway.credential.timeout', 'what the attempt yields, within the wait');
      else
        t.equal(await outcome, CODES[kind as TokenFailureKind], 'the next attempt begins after the wait: its failure');
      t.equal(reasons.length - attempts, !isUsable && renewal === 'idle' ? 1 : 0, 'attempts that the caller caused');
      source.close();
    });

    if (!isUsable) continue;
    t.test(`a 401: token ${token}, renewal ${renewal}`, async (t) => {
      const { source, clock, first } = await sourceIn(token, renewal, (clock) => tokenFor(clock, LIFE_MS, 'next'));
      const held = first as Token;
      t.equal(
        source.invalidate(held, null),
        token === 'suspect',
        'without evidence it passes, unless there is some already',
      );
      t.equal(source.state().token, token);
      t.equal(source.invalidate(held, ROUTE), true);
      t.equal(source.state().token, 'suspect');
      t.equal(source.current(), held, 'the others go on');
      const refused = outcomeOf(source.successor(held));
      await clock.advance(10_000);
      const successor =
        renewal === 'idle'
          ? 'Bearer next'
          : renewal === 'running'
            ? 'gateway.credential.timeout'
            : CODES[kind as TokenFailureKind];
      t.equal(await refused, successor);
      if (renewal === 'idle') {
        const next = source.current() as Token;
        t.equal(source.invalidate(held, OTHER_ROUTE), true, 'a straggler is sent again');
        t.equal(source.current(), next, 'and does no harm');
        t.equal(source.invalidate(next, ROUTE), false, 'the 401 for its successor passes for a minute');
        await clock.advance(60_000);
        t.equal(source.invalidate(next, ROUTE), true);
        return source.close();
      }
      t.equal(source.invalidate(held, ROUTE), true, 'the same route again');
      t.equal(source.invalidate(held, null), true);
      t.equal(source.current(), held, 'is no more evidence than it was');
      t.equal(source.invalidate(held, OTHER_ROUTE), true);
      t.match(source.state(), { token: 'none', renewal }, 'another route: it is dropped');
      t.equal(source.current(), null);
      t.equal(source.invalidate(held, ROUTE), true, 'stragglers wait for its successor');
      source.close();
    });
  }
}

t.test('the page lists every state', async (t) => {
  const page = readFileSync(new URL('../../../docs/tokens.md', import.meta.url), 'utf8');
  for (const state of [...TOKENS, ...RENEWALS]) t.match(page, new RegExp(`^\\| \`${state}\` \\|`, 'm'), state);
});

type Step =
  | { readonly kind: 'call'; readonly withinMs: number }
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'refused'; readonly age: number; readonly route: string | null; readonly isWaitedFor: boolean }
  | { readonly kind: 'login' | 'secret' | 'refresh' | 'patient' | 'logout' | 'close' };
type Reply = {
  readonly takesMs: number;
  readonly answer: 'good' | 'good' | TokenFailureKind;
  readonly lifeMs: number;
  readonly retryAfterMs: number;
};

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('call'), withinMs: fc.constantFrom(0, 500, 10_000, 60_000) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('advance'), ms: fc.constantFrom(1, 400, 1_000, 5_000, 61_000, 900_000) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('refused'),
      age: fc.nat(2),
      route: fc.constantFrom(null, ROUTE, ROUTE, OTHER_ROUTE),
      isWaitedFor: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('login', 'secret', 'refresh', 'patient', 'logout', 'close') }),
  },
) as fc.Arbitrary<Step>;
const reply: fc.Arbitrary<Reply> = fc.record({
  takesMs: fc.constantFrom(0, 0, 300, 8_000, 70_000),
  answer: fc.constantFrom('good', 'good', 'transient', 'refused', 'login_required'),
  lifeMs: fc.constantFrom(0, 3_000, LIFE_MS, Number.POSITIVE_INFINITY),
  retryAfterMs: fc.constantFrom(0, 0, 4_000, 100_000),
});

t.test(
  'whatever happens: no ended token, one attempt at a time, a second apart, every wait ends in time, one stray ' +
    'route harms nobody',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(reply, { minLength: 1, maxLength: 8 }),
        fc.array(step, { maxLength: 25 }),
        fc.boolean(),
        async (replies, steps, renews) => {
          const clock = createFakeClock();
          let secret = 0;
          const running = new Set<{ readonly begunAt: number }>();
          let overlapping = 0;
          let issued = 0;
          const given: Token[] = [];
          const waits: { endsAt: number; isOver: boolean }[] = [];
          const forcedAt: number[] = [];
          const issue = (lifeMs: number) => {
            const token = tokenFor(clock, lifeMs, `issued-${++issued}`);
            given.push(token);
            return token;
          };
          const answer = async ({ takesMs, answer, lifeMs, retryAfterMs }: Reply) => {
            // What hangs is given up a minute after its turn came, which may be a second earlier.
            for (const { begunAt } of running) if (clock.monotonic() - begunAt < 59_000) overlapping += 1;
            const own = { begunAt: clock.monotonic() };
            running.add(own);
            if (takesMs > 0) await new Promise<void>((resolve) => clock.after(takesMs, resolve));
            running.delete(own);
            if (answer === 'good') return issue(lifeMs);
            throw new TokenFailure(answer, 'as the test has it', {
              retryAfterMs: answer === 'transient' ? retryAfterMs : undefined,
            });
          };
          const script = replies.map((one) => () => answer(one));
          const { source, attemptedAt } = sourceUnderTest(script, {
            clock,
            random: () => 0.5,
            settings: { refreshAccessToken: renews, refreshTokenWaitMaxMs: 10_000 },
            revision: () => String(secret),
          });
          const suspects = new Map<string, Set<string>>();
          let isLoggedOut = false;
          const wait = (asked: Promise<Token>, withinMs: number) => {
            const one = { endsAt: clock.monotonic() + Math.min(withinMs, 10_000), isOver: false };
            waits.push(one);
            const over = () => {
              one.isOver = true;
            };
            asked.then(over, over);
          };
          const hold = async () => {
            await clock.advance(0);
            const held = source.current();
            if (held !== null && clock.now() >= held.expiresAt) throw new Error('a token that has ended is handed out');
            for (const { endsAt, isOver } of waits)
              if (!isOver && clock.monotonic() >= endsAt) throw new Error('somebody waits for too long');
            const { token, renewal } = source.state();
            if ((held !== null) !== (token === 'fresh' || token === 'due' || token === 'suspect'))
              throw new Error(`${token}, but ${held?.fingerprint}`);
            if (renewal === 'idle' && token === 'suspect') throw new Error('suspect, and nothing is done about it');
          };
          const perform = async (one: Step) => {
            const before = source.current();
            if (one.kind === 'call') wait(source.token(one.withinMs), one.withinMs);
            else if (one.kind === 'advance') await clock.advance(one.ms);
            else if (one.kind === 'refused') {
              const token = given.at(-1 - one.age);
              if (token === undefined) return;
              const isHeld = before === token;
              const again = source.invalidate(token, one.route);
              if (isHeld && one.route !== null && again)
                suspects.set(token.fingerprint, (suspects.get(token.fingerprint) ?? new Set()).add(one.route));
              const isProven = (suspects.get(token.fingerprint)?.size ?? 0) > 1;
              if (isHeld && !isProven && source.current() === null)
                throw new Error('one route, and a good token is gone');
              if (!isHeld && before !== source.current())
                throw new Error('a token of the past took the present one away');
              if (again && one.isWaitedFor) wait(source.successor(token), 10_000);
            } else if (one.kind === 'login') source.accept(issue(LIFE_MS));
            else if (one.kind === 'secret') secret += 1;
            else if (one.kind === 'refresh' || one.kind === 'patient') {
              if (one.kind === 'refresh') forcedAt.push(clock.monotonic());
              source.refresh({ isPatient: one.kind === 'patient' }).catch(() => undefined);
            } else if (one.kind === 'logout') {
              isLoggedOut = true;
              source.drop(new TokenFailure('login_required', 'logged out'));
            } else source.close();
          };
          source.start();
          for (const one of steps) {
            await perform(one);
            await hold();
          }
          await clock.advance(10_000);
          await hold();
          source.close();
          // A login, a logout or a token that comes late ends what runs, for all that matters; the request itself goes
          // on.
          const isInterrupted =
            isLoggedOut ||
            steps.some(({ kind }) => kind === 'login') ||
            replies.some(({ takesMs }) => takesMs > 60_000);
          if (overlapping > 0 && !isInterrupted) throw new Error('two attempts at a time');
          const isHurried = attemptedAt.some(
            (at, nth) => nth > 0 && at - (attemptedAt[nth - 1] as number) < 1_000 && !forcedAt.includes(at),
          );
          if (isHurried && !isInterrupted) throw new Error(`less than a second apart: ${attemptedAt}`);
        },
      ),
      { numRuns: 150 },
    );
    t.pass();
  },
);

t.test(
  'reasons are told apart: a suspect token is renewed because it was refused, and then as any failure is',
  async (t) => {
    const reasonsSeen: AcquireReason[] = ['start', 'invalidated', 'retry'];
    const { source, clock, reasons } = sourceUnderTest([
      (clock) => tokenFor(clock, LIFE_MS, 'first'),
      () => {
        throw new TokenFailure('transient', 'down');
      },
      (clock) => tokenFor(clock, LIFE_MS, 'next'),
    ]);
    const first = await source.token();
    await clock.advance(2_000);
    source.invalidate(first, ROUTE);
    const refused = source.successor(first);
    await clock.advance(1_000);
    t.equal((await refused).authorization, 'Bearer next', 'over two attempts, within its wait');
    t.strictSame(reasons, reasonsSeen);
  },
);
