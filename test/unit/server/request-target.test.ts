// Where a target leads. Dot segments never pass, in any encoding; what passes is forwarded unchanged.

import fc from 'fast-check';
import t from 'tap';
import { RESERVED_NAMES } from '../../../src/config/layers.ts';
import { isGatewayError } from '../../../src/errors.ts';
import { findOwnRoute } from '../../../src/server/own-routes.ts';
import { parseTarget } from '../../../src/server/request-target.ts';

t.test('forwarded targets', async (t) => {
  const forwarded: readonly (readonly [string, string | null, string])[] = [
    ['/api/v2', null, '/api/v2'],
    ['/api/v2?x=1', null, '/api/v2?x=1'],
    ['/api/v2/users?expand=a,b', null, '/api/v2/users?expand=a,b'],
    ['/crm/api/v2/users?a=%2F', 'crm', '/api/v2/users?a=%2F'],
    ['/crm-2/api/v2', 'crm-2', '/api/v2'],
    ['/api/api/v2/users', null, '/api/v2/users'],
    ['/login/api/v2/users', null, '/api/v2/users'],
    ['/crm/api/api/v2/users', 'crm', '/api/v2/users'],
    ['/api/v2/api/v2/login', null, '/api/v2/api/v2/login'],
    ['/api/v2/users?to=/../x', null, '/api/v2/users?to=/../x'],
  ];
  for (const [target, credential, sent] of forwarded)
    t.strictSame(parseTarget(target), { kind: 'forward', credential, target: sent }, target);
});

t.test('local targets', async (t) => {
  const local: readonly (readonly [string, string | null, string, string])[] = [
    ['/livez', null, '/livez', ''],
    ['/oauth/token', null, '/oauth/token', ''],
    ['/login/oauth/authorize?a=1?b', null, '/oauth/authorize', 'a=1?b'],
    ['/crm/login/oauth/token', 'crm', '/oauth/token', ''],
    ['/crm', null, '/crm', ''],
    ['/crm/streaming/channels/x', 'crm', '/streaming/channels/x', ''],
    ['/hello/there?x=1', null, '/hello/there', 'x=1'],
    ['/hello/livez', null, '/hello/livez', ''],
    ['/', null, '/', ''],
    ['/api/v20', null, '/api/v20', ''],
    ['/login/-/status', null, '/login/-/status', ''],
    ['/crm/api/-/status', 'crm', '/api/-/status', ''],
    ['/login/', null, '/login/', ''],
    ['/api/metrics', null, '/api/metrics', ''],
    ['/login/api/oauth/token', null, '/login/api/oauth/token', ''],
    ['/API/v2/users', null, '/API/v2/users', ''],
    ['//api/v2/users', null, '//api/v2/users', ''],
    ['/-/status', null, '/-/status', ''],
  ];
  for (const [target, credential, path, query] of local) {
    t.strictSame(parseTarget(target), { kind: 'local', credential, path, query, own: findOwnRoute(path) }, target);
  }
});

t.test('no reserved word is a credential', async (t) => {
  for (const name of RESERVED_NAMES) t.equal(parseTarget(`/${name}/oauth/token`).credential, null, name);
});

const refuses = (target: string): boolean => {
  try {
    parseTarget(target);
    return false;
  } catch (error) {
    return isGatewayError(error) && error.code === 'gateway.request.invalid' && error.statusCode === 400;
  }
};

/** Every way to write an octet: itself, or escaped in either case. */
const written = (octet: string) => {
  const hex = octet.charCodeAt(0).toString(16).padStart(2, '0');
  return fc.constantFrom(octet, `%${hex}`, `%${hex.toUpperCase()}`);
};
const dots = fc.oneof(
  written('.').map((dot) => dot),
  fc.tuple(written('.'), written('.')).map((pair) => pair.join('')),
);
const parameter = fc.oneof(
  fc.constant(''),
  fc.tuple(written(';'), fc.constantFrom('', 'x', 'v=1', '..')).map((pair) => pair.join('')),
);
const separator = written('/');
const prefix = fc.constantFrom('/api/v2', '/crm/api/v2', '/oauth', '', '/login/api/v2', '/api/api/v2');
const harmless = fc.constantFrom('', 'users', 'a.b', '...', '.x', '%41', '%', 'x%2fy', ';a=1');

t.test('a dot segment is refused wherever it stands and however it is written', async () => {
  fc.assert(
    fc.property(
      prefix,
      harmless,
      separator,
      dots,
      parameter,
      fc.option(fc.tuple(separator, harmless)),
      fc.constantFrom('', '?q=1'),
      (start, before, slash, segment, params, rest, query) =>
        refuses(`${start}/${before}${slash}${segment}${params}${rest === null ? '' : rest.join('')}${query}`),
    ),
    { numRuns: 5000 },
  );
});

t.test('a backslash, a NUL or a fragment is refused wherever it stands', async () => {
  const evil = fc.constantFrom('\\', '%5c', '%5C', '\0', '%00', '#', '#x');
  fc.assert(
    fc.property(prefix, harmless, evil, harmless, (start, before, octet, after) =>
      refuses(`${start}/${before}${octet}${after}`),
    ),
    { numRuns: 1000 },
  );
  if (!refuses('/api/v2/x?a=#b')) throw new Error('a fragment behind the query');
});

const character = fc.constantFrom(...'abzAZ09-_~!$&\'()*+,=:@|^`{}[]<>"%/;.?\xe9'.split(''));
const anything = fc.string({
  unit: fc.oneof(character, fc.constantFrom('%2f', '%2F', '%2e', '%20', '%zz', '/..a', '//')),
  maxLength: 30,
});

t.test('what passes is forwarded unchanged, and holds no dot segment however it is read', async () => {
  const decoded = (path: string) =>
    path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  fc.assert(
    fc.property(fc.constantFrom('', '/crm', '/api', '/login'), anything, (start, rest) => {
      const target = `/api/v2/${rest}`;
      if (refuses(start + target)) return true;
      const route = parseTarget(start + target);
      const path = target.split('?', 1)[0] as string;
      const readings = [path, decoded(path), decoded(decoded(path)).includes('%') ? path : path]
        .flatMap((text) => text.split('/'))
        .map((segment) => segment.split(';', 1)[0]);
      return route.kind === 'forward' && route.target === target && !readings.includes('..') && !readings.includes('.');
    }),
    { numRuns: 5000 },
  );
});

t.test('anything at all either leads somewhere or is refused with 400', async () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      if (refuses(text)) return true;
      const route = parseTarget(text);
      return route.kind === 'local' || text.endsWith(route.target);
    }),
    { numRuns: 2000 },
  );
});
