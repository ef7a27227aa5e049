// The header filter, line by line and as a property over everything a caller can write.

import fc from 'fast-check';
import t from 'tap';
import { cleanRequestHeaders, cleanResponseHeaders, createOwnHeaders } from '../../../src/server/headers.ts';

const NONE = createOwnHeaders([]);
const pairsOf = (flat: readonly string[]) =>
  Array.from({ length: flat.length / 2 }, (_, index) => [flat[2 * index], flat[2 * index + 1]] as const);
const request = (...pairs: readonly (readonly [string, string])[]) => cleanRequestHeaders(pairs.flat(), NONE);
const namesOf = (...pairs: readonly (readonly [string, string])[]) =>
  pairsOf(request(...pairs).headers).map(([name]) => name);
const answer = (...pairs: readonly (readonly [string, string])[]) =>
  cleanResponseHeaders(
    pairs.flat().map((text) => Buffer.from(text, 'latin1')),
    204,
    (location) => `here:${location}`,
  );

t.test('requests', async (t) => {
  t.test('Authorization in any spelling goes, and is noted; ours comes last, once', async (t) => {
    for (const name of ['Authorization', 'authorization', 'AUTHORIZATION', 'aUtHoRiZaTiOn']) {
      const clean = request(['X', '1'], [name, 'Bearer mine'], [name.toLowerCase(), 'Basic mine']);
      t.strictSame(clean.headers, ['X', '1', 'Authorization', '']);
      t.equal(clean.hadAuthorization, true);
    }
    t.equal(request(['X', '1']).hadAuthorization, false);
  });

  t.test('hop-by-hop, identity and forwarding headers go, whatever their case and with underscores too', async (t) => {
    const names = [
      ...[
        'Connection',
        'Keep-Alive',
        'Proxy-Connection',
        'TE',
        'Trailer',
        'Transfer-Encoding',
        'Upgrade',
        'Expect',
        'Host',
        'Cookie',
      ],
      ...[
        'Proxy-Authorization',
        'Proxy-Authenticate',
        'Proxy-Anything',
        'X-Gateway-Key',
        'X-Gateway-Credential',
        'X-Gateway-Error',
        'X-Gateway-',
      ],
      ...[
        'Forwarded',
        'X-Forwarded-For',
        'X-Forwarded-Host',
        'X-Forwarded-Proto',
        'X-Forwarded-',
        'X-Forwarded-Client-Cert',
      ],
    ];
    for (const name of names) {
      for (const spelling of [
        name,
        name.toLowerCase(),
        name.toUpperCase(),
        name.replaceAll('-', '_'),
        name.replace('-', '_').toLowerCase(),
      ]) {
        t.strictSame(namesOf([spelling, 'x']), ['Authorization'], spelling);
      }
    }
    t.strictSame(
      namesOf(['Content_Length', '5'], ['content_length', '5']),
      ['Authorization'],
      'a look-alike of Content-Length',
    );
  });

  t.test("what is set here takes the place of the caller's, in any spelling a server takes for the same", async (t) => {
    const own = createOwnHeaders([
      ['Genesys-App', 'ours'],
      ['X_Team', 'ours'],
    ]);
    for (const spelling of ['Genesys-App', 'genesys-app', 'Genesys_App', 'GENESYS_APP', 'X-Team', 'x_team', 'X_TEAM']) {
      const { headers } = cleanRequestHeaders([spelling, 'spoof', 'Genesys-App-Id', 'kept'], own);
      t.strictSame(
        headers,
        ['Genesys-App-Id', 'kept', 'Genesys-App', 'ours', 'X_Team', 'ours', 'Authorization', ''],
        spelling,
      );
    }
    const named = cleanRequestHeaders(['Connection', 'Genesys-App, X_Team', 'A', '1'], own);
    t.strictSame(
      named.headers,
      ['A', '1', 'Genesys-App', 'ours', 'X_Team', 'ours', 'Authorization', ''],
      'a Connection line removes none of ours',
    );
  });

  t.test('names that merely resemble them stay', async (t) => {
    for (const name of [
      'Authorization-X',
      'X-Authorization',
      'Cookie2',
      'Set-Cookie',
      'Hosts',
      'X-Gatewa',
      'Proxy',
      'Forwarded-By',
      'Via',
      'TEE',
      'Content-Length',
      'Accept_X',
      'constructor',
      '__proto__',
    ]) {
      t.strictSame(namesOf([name, 'x']), [name, 'Authorization'], name);
    }
  });

  t.test('what Connection names goes, ours never', async (t) => {
    t.strictSame(namesOf(['Connection', 'authorization'], ['X', '1']), ['X', 'Authorization']);
    t.strictSame(namesOf(['Connection', 'x, AUTHORIZATION, close'], ['X', '1'], ['Y', '2']), ['Y', 'Authorization']);
    t.strictSame(namesOf(['A', '1'], ['connection', 'a'], ['B', '2'], ['Connection', ' ,b,,keep-alive'], ['C', '3']), [
      'C',
      'Authorization',
    ]);
    const own = createOwnHeaders([['Genesys-App', 'ours']]);
    const clean = cleanRequestHeaders(['Connection', 'genesys-app', 'GENESYS-APP', 'theirs', 'X', '1'], own);
    t.strictSame(clean.headers, ['X', '1', 'Genesys-App', 'ours', 'Authorization', '']);
  });

  t.test('X-Gateway-Instance is read for loops and does not pass by itself', async (t) => {
    const clean = request(['X-Gateway-Instance', 'a'], ['x-gateway-instance', 'b, c']);
    t.equal(clean.instances, 'a,b, c');
    t.strictSame(clean.headers, ['Authorization', '']);
  });
});

t.test('answers', async (t) => {
  t.test('what would bind the browser, open an origin or speak for us goes', async (t) => {
    const names = [
      ...[
        'Set-Cookie',
        'Strict-Transport-Security',
        'Alt-Svc',
        'Access-Control-Allow-Origin',
        'Access-Control-Allow-Credentials',
        'Access-Control-X',
      ],
      ...[
        'X-Gateway-Error',
        'X-Gateway-Request-Id',
        'X-Gateway-Anything',
        'Connection',
        'Keep-Alive',
        'Transfer-Encoding',
        'Upgrade',
        'Trailer',
        'Proxy-Authenticate',
      ],
    ];
    for (const name of names) {
      for (const spelling of [name, name.toLowerCase(), name.toUpperCase(), name.replaceAll('-', '_')]) {
        t.strictSame(answer([spelling, 'y'], ['X', '1']).headers, ['X', '1'], spelling);
      }
    }
  });
  t.test('the rest stays, in order, casing and number', async (t) => {
    const pairs = [
      'Date',
      'd',
      'eTaG',
      '1',
      'Link',
      'a',
      'Vary',
      'x',
      'link',
      'b',
      'WWW-Authenticate',
      'y',
      'constructor',
      '1',
      '__proto__',
      '2',
    ];
    t.strictSame(answer(...(pairsOf(pairs) as [string, string][])).headers, pairs);
  });
  t.test('every Location is shown to the rewriter, Content-Location is not', async (t) => {
    t.strictSame(answer(['LOCATION', '/a'], ['location', '/b'], ['Content-Location', '/c']).headers, [
      'LOCATION',
      'here:/a',
      'location',
      'here:/b',
      'Content-Location',
      '/c',
    ]);
  });
  t.test('the correlation id is read and passes', async (t) => {
    const clean = answer(['inin-Correlation-ID', 'abc']);
    t.strictSame([clean.correlationId, clean.headers], ['abc', ['inin-Correlation-ID', 'abc']]);
  });
  t.test('what Connection names goes', async (t) => {
    t.strictSame(answer(['Connection', 'close, X-Hop'], ['x-hop', '1'], ['Y', '2']).headers, ['Y', '2']);
  });
});

const token = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_.!~'), minLength: 1, maxLength: 12 });
const sensitive = fc.constantFrom(
  'authorization',
  'cookie',
  'host',
  'connection',
  'x-gateway-key',
  'x-forwarded-for',
  'forwarded',
  'proxy-authorization',
  'transfer-encoding',
  'te',
  'upgrade',
  'expect',
  'keep-alive',
  'constructor',
  '__proto__',
  'content-length',
);
const respelt = fc
  .tuple(sensitive, fc.array(fc.boolean(), { minLength: 24, maxLength: 24 }), fc.boolean())
  .map(([name, flips, underscore]) => {
    const letters = [...name].map((letter, index) => (flips[index] ? letter.toUpperCase() : letter)).join('');
    return underscore ? letters.replaceAll('-', '_') : letters;
  });
const pair = fc.tuple(
  fc.oneof(token, respelt),
  fc.oneof(token, fc.constantFrom('close', 'authorization', 'x, authorization', 'keep-alive, X-A', '')),
);

const HOP_BY_HOP = 'connection|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*';
const FORBIDDEN = new RegExp(`^(authorization|cookie|host|forwarded|${HOP_BY_HOP}|x-gateway-.*|x-forwarded-.*)$`);

t.test('no list of headers gets a forbidden one through, loses another, or touches ours', async () => {
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 20 }), (pairs) => {
      const { headers } = cleanRequestHeaders(pairs.flat(), NONE);
      const passed = pairsOf(headers);
      const last = passed.pop();
      if (last?.[0] !== 'Authorization' || last[1] !== '') return false;
      const canonical = (name: string) => name.toLowerCase().replaceAll('_', '-');
      if (passed.some(([name]) => FORBIDDEN.test(canonical(name as string)))) return false;
      const named = new Set(
        pairs
          .filter(([name]) => name.toLowerCase() === 'connection')
          .flatMap(([, value]) =>
            value
              .toLowerCase()
              .split(',')
              .map((word) => word.trim()),
          ),
      );
      const expected = pairs.filter(
        ([name]) =>
          !FORBIDDEN.test(canonical(name)) &&
          !named.has(name.toLowerCase()) &&
          !(canonical(name) === 'content-length' && name.includes('_')),
      );
      return JSON.stringify(passed) === JSON.stringify(expected);
    }),
    { numRuns: 2000 },
  );
});
