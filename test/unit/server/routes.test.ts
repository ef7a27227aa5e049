// The table of our own routes: what is found at a path, how it is named in records, and that its words are no names of
// credentials.

import t from 'tap';
import { RESERVED_NAMES } from '../../../src/config/layers.ts';
import { findOwnRoute, OWN_ROUTES } from '../../../src/server/own-routes.ts';

t.test('a route is found at its path, whatever stands for a parameter, and named by its template', async (t) => {
  for (const [path, template] of [
    ['/livez', '/livez'],
    ['/', '/'],
    ['/oauth/token', '/oauth/token'],
    ['/streaming/channels/streaming-1-abc', '/streaming/channels/{id}'],
    ['/-/credentials/crm/refresh', '/-/credentials/{name}/refresh'],
    ['/-/login/crm', '/-/login/{name}'],
  ] as const) {
    t.equal(findOwnRoute(path)?.template, template, path);
  }
  for (const path of [
    '/nowhere',
    '/Livez',
    '/livez/',
    '//',
    '/-/login/',
    '/-/login/a/b',
    '/-/credentials/a/b',
    '/oauth',
    '/streaming/channels/',
    '',
  ]) {
    t.equal(findOwnRoute(path), null, path);
  }
});

t.test('no credential can have a name that a path of ours begins with', async (t) => {
  const first = OWN_ROUTES.map(({ path }) => path.split('/')[1] as string).filter((word) => /^[a-z0-9]/.test(word));
  for (const word of new Set(first)) t.ok(RESERVED_NAMES.has(word), word);
});

t.test(
  'what changes something, or tells of credentials, is for nobody who has not proved to be an admin',
  async (t) => {
    for (const route of OWN_ROUTES.filter(({ kind }) => kind === 'admin' || kind === 'metrics')) {
      t.match(
        route,
        { isOpen: false, isReturn: false, isForApplications: false, isAnyHost: false, isData: false },
        route.path,
      );
    }
  },
);
