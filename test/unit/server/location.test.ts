// Which redirects lead back through the gateway.

import fc from 'fast-check';
import t from 'tap';
import { rewriteLocation } from '../../../src/server/headers.ts';

const region = { origin: 'https://api.mypurecloud.de', pathPrefix: '' };
const behindPath = { origin: 'http://127.0.0.1:8080', pathPrefix: '/genesys' };

t.test("the upstream's own host is turned to ours, octet for octet", async (t) => {
  for (const [location, here] of [
    ['https://api.mypurecloud.de/api/v2/users?a=%2F,b#c', '/api/v2/users?a=%2F,b#c'],
    ['https://API.MyPureCloud.DE:443/api/v2/x', '/api/v2/x'],
    ['HTTPS://api.mypurecloud.de/api/v2/x', '/api/v2/x'],
    ['//api.mypurecloud.de/api/v2/x', '/api/v2/x'],
    ['https://api.mypurecloud.de', '/'],
    ['/api/v2/x', '/api/v2/x'],
  ] as const) {
    t.equal(rewriteLocation(location, region, ''), here, location);
    if (here !== '/')
      t.equal(rewriteLocation(location, region, '/crm'), `/crm${here}`, `${location} with a credential`);
  }
  t.equal(rewriteLocation('http://127.0.0.1:8080/genesys/api/v2/x', behindPath, ''), '/api/v2/x');
  t.equal(rewriteLocation('/genesys/api/v2/x', behindPath, '/crm'), '/crm/api/v2/x');
});

t.test('other hosts, schemes, ports and paths pass as they are', async (t) => {
  for (const location of [
    'https://login.mypurecloud.de/x',
    'https://api.mypurecloud.de.evil.test/x',
    'https://api.mypurecloud.de@evil.test/x',
    'https://user:x@api.mypurecloud.de/x',
    'http://api.mypurecloud.de/x',
    'https://api.mypurecloud.de:8443/x',
    'https://s3.amazonaws.com/x?X-Amz-Signature=a%2Fb',
    '//evil.test/x',
    'relative/x',
    '?q',
    '',
    'https://',
    'mailto:a@b',
  ]) {
    t.equal(rewriteLocation(location, region, '/crm'), location, location);
  }
  t.equal(rewriteLocation('http://127.0.0.1:8080/other/x', behindPath, ''), 'http://127.0.0.1:8080/other/x');
  t.equal(rewriteLocation('http://127.0.0.1:8080/genesysx/x', behindPath, ''), 'http://127.0.0.1:8080/genesysx/x');
});

t.test('a path that would name another host, once it stands alone, is not cut out', async () => {
  const base = new URL('http://localhost:8080/api/v2/');
  const piece = fc.constantFrom(
    '/',
    '\\',
    '//',
    'evil.test',
    ':',
    '@',
    '?',
    '#',
    'https:',
    'api.mypurecloud.de',
    'x',
    '%2f',
    ' ',
    '\t',
    '.',
    '..',
  );
  fc.assert(
    fc.property(
      fc.constantFrom(
        'https://api.mypurecloud.de',
        'https:/api.mypurecloud.de',
        'https:\\\\api.mypurecloud.de',
        '//api.mypurecloud.de',
        'https:api.mypurecloud.de',
        '',
      ),
      fc.array(piece, { maxLength: 6 }),
      (start, pieces) => {
        const location = start + pieces.join('');
        const rewritten = rewriteLocation(location, region, '');
        if (rewritten === location) return true;
        // Where a browser goes from our address: to us, and nowhere else.
        return new URL(rewritten, base).host === base.host;
      },
    ),
    { numRuns: 5000 },
  );
});
