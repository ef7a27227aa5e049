// Which hosts NO_PROXY and proxy.no_proxy exempt.

import fc from 'fast-check';
import t from 'tap';
import { parseNoProxy } from '../../../src/config/sections/proxy.ts';

const cases: [entries: string, host: string, port: number, matches: boolean][] = [
  ['example.com', 'example.com', 443, true],
  ['example.com', 'api.example.com', 443, true],
  ['example.com', 'notexample.com', 443, false],
  ['example.com', 'example.com.evil.test', 443, false],
  ['.example.com', 'example.com', 443, true],
  ['.example.com', 'api.example.com', 443, true],
  ['.example.com', 'notexample.com', 443, false],
  ['*.example.com', 'api.example.com', 443, true],
  ['*.example.com', 'a.b.example.com', 443, true],
  ['*.example.com', 'example.com', 443, false],
  ['api.*.example.com', 'api.eu.example.com', 443, true],
  ['EXAMPLE.com', 'Api.Example.COM', 443, true],
  ['example.com.', 'example.com', 443, true],
  ['example.com', 'example.com.', 443, true],
  ['example.com:8443', 'example.com', 8443, true],
  ['example.com:8443', 'example.com', 443, false],
  ['a.test, b.test', 'b.test', 443, true],
  ['a.test b.test', 'b.test', 443, true],
  ['*', 'anything.test', 443, true],
  ['*', '10.1.2.3', 443, true],
  ['', 'example.com', 443, false],
  [',,', 'example.com', 443, false],
  ['.', 'example.com', 443, false],
  ['10.0.0.0/8', '10.255.1.1', 443, true],
  ['10.0.0.0/8', '11.0.0.1', 443, false],
  ['10.0.0.0/8', '10.example.com', 443, false],
  ['10.0.0.0/8:443', '10.1.1.1', 443, true],
  ['10.0.0.0/8:444', '10.1.1.1', 443, false],
  ['192.168.1.7', '192.168.1.7', 443, true],
  ['192.168.1.7', '192.168.1.70', 443, false],
  ['1.7', '192.168.1.7', 443, false],
  ['192.168.1.*', '192.168.1.70', 443, true],
  ['0.0.0.0/0', '8.8.8.8', 443, true],
  ['fd00::/8', 'fd12:3456::1', 443, true],
  ['fd00::/8', '[fd12:3456::1]', 443, true],
  ['fd00::/8', 'fe80::1', 443, false],
  ['::1', '0:0:0:0:0:0:0:1', 443, true],
  ['[::1]', '::1', 443, true],
  ['[::1]:8080', '::1', 8080, true],
  ['[::1]:8080', '::1', 80, false],
  ['[fd00::]/8', 'fd00::1', 443, true],
];

for (const [entries, host, port, matches] of cases) {
  t.test(`"${entries}" ${matches ? 'exempts' : 'does not exempt'} ${host}:${port}`, async (t) => {
    t.equal(parseNoProxy([entries]).matches(host, port), matches);
  });
}

t.test('entries that can match nothing are told', async (t) => {
  t.strictSame(
    parseNoProxy(['10.0.0.0/99, good.test', 'x/8', 'fd00::/129', 'a.test:0', 'a.test:70000', '10.0.0.0/']).unusable,
    ['10.0.0.0/99', 'x/8', 'fd00::/129', 'a.test:0', 'a.test:70000', '10.0.0.0/'],
  );
});

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/).filter((text) => !/^\d+$/.test(text));
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const port = fc.integer({ min: 1, max: 65_535 });

t.test('a name exempts itself and all below it, and no name that merely ends alike', async (t) => {
  fc.assert(
    fc.property(name, label, port, (entry, prefix, anyPort) => {
      const { matches } = parseNoProxy([entry]);
      return (
        matches(entry, anyPort) && matches(`${prefix}.${entry}`, anyPort) && !matches(`${prefix}${entry}`, anyPort)
      );
    }),
  );
  t.pass();
});

t.test('a leading dot changes nothing; a leading star leaves the name itself out', async (t) => {
  fc.assert(
    fc.property(name, name, port, (entry, host, anyPort) => {
      const plain = parseNoProxy([entry]).matches(host, anyPort);
      return (
        plain === parseNoProxy([`.${entry}`]).matches(host, anyPort) &&
        !parseNoProxy([`*.${entry}`]).matches(entry, anyPort)
      );
    }),
  );
  t.pass();
});

t.test('a port limits an entry to that port', async (t) => {
  fc.assert(
    fc.property(
      name,
      port,
      port,
      (entry, entryPort, hostPort) =>
        parseNoProxy([`${entry}:${entryPort}`]).matches(entry, hostPort) === (entryPort === hostPort),
    ),
  );
  t.pass();
});

t.test('an IPv4 range holds exactly the addresses that share its prefix', async (t) => {
  const address = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  const dotted = (value: number) => [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
  fc.assert(
    fc.property(address, address, fc.integer({ min: 0, max: 32 }), fc.boolean(), (base, far, prefix, isNear) => {
      const size = 2 ** (32 - prefix);
      const host = isNear ? Math.floor(base / size) * size + (far % size) : far;
      const expected = Math.floor(base / size) === Math.floor(host / size);
      return parseNoProxy([`${dotted(base)}/${prefix}`]).matches(dotted(host), 443) === expected;
    }),
  );
  t.pass();
});

t.test('no text makes it throw', async (t) => {
  fc.assert(
    fc.property(fc.string(), fc.string(), port, (entry, host, anyPort) => {
      parseNoProxy([entry]).matches(host, anyPort);
    }),
  );
  t.pass();
});

t.test('many * are read in one pass, whatever the name', async (t) => {
  const { matches } = parseNoProxy(['*a*a*a*a*a*a*b', 'x*y*z', 'ab*ba']);
  t.equal(matches(`${'a'.repeat(250)}.com`, 443), false);
  t.equal(matches(`${'a'.repeat(250)}b`, 443), true);
  for (const [host, isMatch] of Object.entries({
    xyz: true,
    'x.y.y.z': true,
    'x.z': false,
    aba: false,
    abba: true,
    'abba.x': false,
  }))
    t.equal(matches(host, 443), isMatch, host);
});
