import fc from 'fast-check';
import t from 'tap';
import { backoffMs, renewalMarginMs } from '../../../src/auth/credentials/token-life.ts';
import {
  DEFAULT_LIFE_MS,
  LONGEST_LIFE_MS,
  parseExpiresIn,
  parseTokenError,
  parseTokenReply,
} from '../../../src/auth/credentials/token-reply.ts';
import { LONGEST_RETRY_AFTER_MS, parseRetryAfter } from '../../../src/retry-after.ts';

const NOW = Date.UTC(2026, 0, 1);

const lives: [string, unknown, number | undefined][] = [
  ['a number', 86_399, 86_399_000],
  ['digits', '3600', 3_600_000],
  ['digits with white space', ' 3600 ', 3_600_000],
  ['a fraction', 0.5, 500],
  ['missing', undefined, DEFAULT_LIFE_MS],
  ['null', null, DEFAULT_LIFE_MS],
  ['words', 'soon', DEFAULT_LIFE_MS],
  ['an empty string', '', DEFAULT_LIFE_MS],
  ['a boolean', true, DEFAULT_LIFE_MS],
  ['an object', {}, DEFAULT_LIFE_MS],
  ['hex', '0x10', DEFAULT_LIFE_MS],
  ['an exponent as text', '1e3', DEFAULT_LIFE_MS],
  ['zero', 0, undefined],
  ['zero as text', '0', undefined],
  ['negative', -60, undefined],
  ['negative as text', '-60', undefined],
  ['500 days', 500 * 86_400, LONGEST_LIFE_MS],
  ['more than fits', Number.POSITIVE_INFINITY, LONGEST_LIFE_MS],
  ['digits without end', '9'.repeat(400), LONGEST_LIFE_MS],
];
for (const [what, value, expected] of lives) {
  t.test(`expires_in: ${what}`, async (t) => {
    t.equal(parseExpiresIn(value), expected);
  });
}

t.test('whatever expires_in is, the life is nothing or lies between zero and 450 days', async () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      const life = parseExpiresIn(value);
      return life === undefined || (life > 0 && life <= LONGEST_LIFE_MS);
    }),
  );
});

t.test('Retry-After in seconds is seconds', async () => {
  fc.assert(
    fc.property(
      fc.nat(),
      (seconds) => parseRetryAfter(String(seconds), NOW) === Math.min(seconds * 1_000, LONGEST_RETRY_AFTER_MS),
    ),
  );
});

t.test('Retry-After as a date is the distance from the sender’s own clock', async () => {
  fc.assert(
    fc.property(fc.integer({ min: -7_200, max: 7_200 }), fc.integer({ min: -86_400, max: 86_400 }), (wait, skew) => {
      const sender = NOW + skew * 1_000;
      const value = new Date(sender + wait * 1_000).toUTCString();
      const expected = Math.min(Math.max(0, wait * 1_000), LONGEST_RETRY_AFTER_MS);
      return (
        parseRetryAfter(value, NOW, new Date(sender).toUTCString()) === expected &&
        parseRetryAfter(value, sender) === expected
      );
    }),
  );
});

t.test('the obsolete date forms of RFC 9110 are read, and what is no date is not', async (t) => {
  t.equal(parseRetryAfter('Thursday, 01-Jan-26 00:00:30 GMT', NOW), 30_000);
  t.equal(parseRetryAfter('Thu Jan  1 00:00:30 2026', NOW), 30_000);
  for (const value of [
    undefined,
    '',
    'soon',
    '-1',
    '1.5',
    '120abc',
    '2026-01-01',
    'Thu, 99 Foo 2026 00:00:30 GMT',
    '1 2',
  ]) {
    t.equal(parseRetryAfter(value, NOW), undefined, String(value));
  }
});

t.test('any text as Retry-After is a bounded wait or none', async () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (value, date) => {
      const wait = parseRetryAfter(value, NOW, date);
      return wait === undefined || (wait >= 0 && wait <= LONGEST_RETRY_AFTER_MS);
    }),
  );
});

t.test('any bytes as a token reply are a sendable token or a problem, never a throw', async () => {
  const token = /^[\x21-\x7e]{1,16384}$/;
  const check = (body: Buffer) => {
    const parsed = parseTokenReply(body);
    return 'problem' in parsed || token.test(parsed.accessToken.reveal());
  };
  fc.assert(fc.property(fc.uint8Array(), (bytes) => check(Buffer.from(bytes))));
  fc.assert(fc.property(fc.json(), (text) => check(Buffer.from(text))));
  const reply = fc.record(
    {
      access_token: fc.oneof(fc.string(), fc.anything()),
      token_type: fc.anything(),
      expires_in: fc.anything(),
      refresh_token: fc.anything(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(reply, (fields) =>
      check(
        Buffer.from(JSON.stringify(fields, (_key, value) => (typeof value === 'bigint' ? String(value) : value)) ?? ''),
      ),
    ),
  );
});

t.test('any bytes as an error are judged without a throw', async () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => parseTokenError(Buffer.from(bytes)).oauthError.length > 0));
});

t.test('fields are read from the reply itself, not from what it inherits', async (t) => {
  t.match(parseTokenReply(Buffer.from('{"__proto__":{"access_token":"inherited"}}')), { problem: /no access_token/ });
});

t.test('the margin is never more than 0.6 of a life, so that no token is due on arrival', async () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.001, max: LONGEST_LIFE_MS, noNaN: true }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (life, jitter) => {
        const margin = renewalMarginMs(life, jitter);
        return margin > 0 && margin <= life * 0.6 && margin <= 360_000;
      },
    ),
  );
});

t.test('backoff lies between a second and a minute, and honours Retry-After', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.nat(3_600_000),
      (n, random, retryAfter) => {
        const wait = backoffMs(n, random);
        return wait >= 1_000 && wait <= 60_000 && backoffMs(n, random, retryAfter) === Math.max(wait, retryAfter);
      },
    ),
  );
});
