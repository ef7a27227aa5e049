// What FindProxyForURL may return, and what becomes of it.

import fc from 'fast-check';
import t from 'tap';
import { parsePacAnswer } from '../../../../src/upstream/egress/pac.ts';
import { routeName } from '../../../../src/upstream/egress/proxy-route.ts';

const nobody = { read: () => null, isFor: () => true };
const names = (answer: string) => parsePacAnswer(answer, nobody).map(routeName);

t.test('entries are taken in order', async (t) => {
  t.strictSame(names('PROXY a:8080; HTTPS b:8443;SOCKS5 c ; SOCKS4 d:1; SOCKS e:2; http f:3; DIRECT'), [
    'http://a:8080',
    'https://b:8443',
    'socks5h://c:1080',
    'socks4a://d:1',
    'socks5h://e:2',
    'http://f:3',
    'direct',
  ]);
});

t.test('nothing means direct', async (t) => {
  for (const answer of ['', ' ', ';;']) t.strictSame(names(answer), ['direct']);
});

t.test('what is not understood is passed over, and is an error when nothing else is left', async (t) => {
  t.strictSame(names('PIGEON x:1; PROXY; PROXY a b; PROXY a/path; PROXY http://a; constructor x; DIRECT'), ['direct']);
  t.throws(() => names('PIGEON x:1'), /names no route/);
});

t.test(
  'credentials go to the proxies that they are for; to another go those alone that the script gives it',
  async (t) => {
    const login = { username: 'corp', password: 'pw' };
    const credentials = { read: () => login, isFor: (host: string, port: number) => host === 'a' && port === 1 };
    const routes = parsePacAnswer('PROXY a:1; PROXY a:2; SOCKS b:1; PROXY u:p@c:1', credentials).map(
      (route) => route.kind === 'proxy' && [route.credentials(), route.isStranger],
    );
    t.strictSame(routes, [
      [login, false],
      [null, true],
      [null, true],
      [{ username: 'u', password: 'p' }, true],
    ]);
  },
);

t.test('of a list without end the beginning counts', async (t) => {
  t.equal(names('PROXY a:1; '.repeat(5000)).length, 32);
});

t.test('no text yields anything but routes or an Error', async (t) => {
  fc.assert(
    fc.property(fc.string(), (answer) => {
      try {
        return names(answer).length > 0;
      } catch (error) {
        return /names no route/.test((error as Error).message);
      }
    }),
  );
  t.pass();
});
