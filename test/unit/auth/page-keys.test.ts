// Keys and links of the live page: how long each is good, how often, and how many there are.

import t from 'tap';
import { isPageKey, PageKeys } from '../../../src/auth/callers/page-keys.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const MINUTE = 60_000;
const crm = { client: 'crm', authFingerprint: 'mark' };

t.test('the key of a start is another one each time, and good as long as the process', async (t) => {
  const clock = createFakeClock();
  const [keys, others] = [new PageKeys(clock), new PageKeys(clock)];
  t.ok(isPageKey(keys.own));
  t.not(keys.own, others.own);
  t.equal(Buffer.from(keys.own.slice(5), 'base64url').length, 16, '128 bits');
  t.equal(others.find(keys.own), null);
  await clock.advance(100 * 24 * 60 * MINUTE);
  t.equal(keys.find(keys.own), 'operator');
  for (const wrong of ['', 'gcgp_', `${keys.own}x`, keys.own.slice(0, -1), keys.own.toUpperCase(), '\u{1f511}'])
    t.equal(keys.find(wrong), null);
});

t.test('a key of a client ends when it is idle for half an hour, and after twelve hours in any case', async (t) => {
  const clock = createFakeClock();
  const keys = new PageKeys(clock);
  const idle = keys.give(crm);
  const used = keys.give(crm);
  await clock.advance(29 * MINUTE);
  t.match(keys.find(used), crm);
  t.ok(keys.isGood(idle), 'looking whether it is good is no use of it');
  await clock.advance(2 * MINUTE);
  t.notOk(keys.isGood(idle));
  t.equal(keys.find(idle), null);
  for (let at = 0; at < 23; at++) {
    t.match(keys.find(used), crm);
    await clock.advance(30 * MINUTE);
  }
  t.equal(keys.find(used), null, 'twelve hours are over');
  const later = keys.give(crm);
  clock.stepWall(-MINUTE);
  t.equal(keys.find(later), null, 'a clock that is set back prolongs nothing');
});

t.test('clients have eight keys at most: the one that was idle longest gives way', async (t) => {
  const clock = createFakeClock();
  const keys = new PageKeys(clock);
  const given = [];
  for (let at = 0; at < 8; at++) {
    given.push(keys.give({ ...crm, client: `c${at}` }));
    await clock.advance(1_000);
  }
  keys.find(given[0] as string);
  keys.give({ ...crm, client: 'ninth' });
  t.strictSame(
    keys.list().map(({ client }) => client),
    ['c0', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'ninth'],
  );
  keys.end(given[2] as string);
  t.equal(keys.find(given[2] as string), null);
  t.notMatch(JSON.stringify(keys.list()), /gcgp_/, 'a list of them holds none');
});

t.test('a link is good once, for a minute, and says why it is not', async (t) => {
  const clock = createFakeClock();
  const keys = new PageKeys(clock);
  const code = keys.invite('operator');
  t.strictSame(keys.redeem(code), { holder: 'operator' });
  t.strictSame(keys.redeem(code), { refused: 'used' });
  const late = keys.invite(crm);
  await clock.advance(MINUTE + 1);
  t.strictSame(keys.redeem(late), { refused: 'expired' });
  t.strictSame(keys.redeem(late), { refused: 'expired' }, 'it was never used');
  t.strictSame(keys.redeem('never-made'), { refused: 'unknown' });
  await clock.advance(61 * MINUTE);
  keys.invite(crm);
  t.strictSame(keys.redeem(code), { refused: 'unknown' }, 'what is long over is forgotten');
});

t.test('however many links are asked for, few are kept', async (t) => {
  const keys = new PageKeys(createFakeClock());
  const codes = Array.from({ length: 200 }, () => keys.invite('operator'));
  const good = codes.filter((code) => 'holder' in keys.redeem(code));
  t.ok(good.length <= 64);
  t.ok(good.includes(codes.at(-1) as string));
});
