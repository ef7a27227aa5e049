// Method and target reach the upstream octet for octet.

import t from 'tap';
import { isHead, ok, sameAsDirect } from '../helpers/direct.ts';

const get = (target: string) => `GET ${target} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n`;

const targets: readonly (readonly [string, string])[] = [
  ['an encoded slash stays encoded', '/api/v2/users/u%201%2Fa%2f%C3%A9'],
  ['commas and colons stay unescaped', '/api/v2/users?id=a,b,c&expand=presence,authorization&sort=name:asc'],
  ['a lone percent sign passes', '/api/v2/users/100%?q=%&r=%zz'],
  ['a name encoded twice stays so', '/api/v2/users?a%2520b=%2525'],
  ['an empty query keeps its question mark', '/api/v2/users?'],
  ['empty segments are kept', '/api/v2//users///x/'],
  ['question marks, slashes and dots in the query mean nothing', '/api/v2/users?next=/../..%2f&x=?&y=\\'],
  ['brackets, braces, bars and quotes pass', '/api/v2/users/{id}/[1]|"x"^`'],
  ['path parameters and single dots in a name pass', '/api/v2/users;v=1/a.b/..c/.d;x'],
  ['the bare prefix passes', '/api/v2'],
  ['plus signs stay', '/api/v2/users?q=a+b'],
  ['a target of 30 kB passes', `/api/v2/users?q=${'x'.repeat(30_000)}`],
];

for (const [name, target] of targets) t.test(name, (t) => sameAsDirect(t, { request: get(target), answer: ok('{}') }));

for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'QUERY', 'M-SEARCH', 'LINK']) {
  t.test(`${method} passes as it is`, (t) =>
    sameAsDirect(t, {
      request: `${method} /api/v2/users HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n\r\n`,
      answer: ok('{"a":1}'),
    }),
  );
}

t.test('HEAD passes with the length of a body that does not come', (t) =>
  sameAsDirect(t, {
    request: 'HEAD /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n',
    answer: 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1234\r\n\r\n',
    isDone: isHead,
  }),
);

t.test('HEAD passes without a length', (t) =>
  sameAsDirect(t, {
    request: 'HEAD /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n',
    answer: 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n',
    isDone: isHead,
  }),
);
