// A value in a message shows no password of a URL, and costs no more than its length.

import t from 'tap';
import { quote, withoutUserInfo } from '../../../src/config/problem.ts';
import { ATOMS, searchCosts } from '../../helpers/cost.ts';

t.test(
  'what stands before the last @ of a word goes, the scheme stays, and what is no login stays whole',
  async (t) => {
    const rows: [text: string, quote: string][] = [
      ['http://u:p@proxy:3128/x', 'http://[redacted]@proxy:3128/x'],
      ['u:p@proxy, http://a:b@c', '[redacted]@proxy, http://[redacted]@c'],
      ['u:p@ss@proxy', '[redacted]@proxy'],
      ['url=http://u:p@proxy', '[redacted]@proxy'],
      ['http://user@proxy', '[redacted]@proxy'],
      ['mail to a@b.example: soon', 'mail to a@b.example: soon'],
      ['a@b:c', 'a@b:c'],
      ['"fd:3@0.0.0.0:80" or fd:4@[::1]:80', '"fd:3@0.0.0.0:80" or fd:4@[::1]:80'],
      ['http://fd:3@proxy', 'http://[redacted]@proxy'],
      ['@', '@'],
      [`see https://h/ and ${'x'.repeat(3000)} u:p@h`, `see https://h/ and ${'x'.repeat(3000)} [redacted]@h`],
    ];
    for (const [text, expected] of rows) t.equal(withoutUserInfo(text), expected);
  },
);

t.test('many colons before an @ take no longer than they are', async (t) => {
  const entries = {
    'user information': (text: string) => withoutUserInfo(`${text}@`),
    'a short one': (text: string) => withoutUserInfo(`${text.slice(0, text.length / 5)}@`),
    'a value': (text: string) => quote(`a@${text}`),
  };
  t.strictSame(searchCosts(entries, [...ATOMS, 'a:', 'a:@', 'a://']), []);
});
