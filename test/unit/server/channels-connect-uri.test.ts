import fc from 'fast-check';
import t from 'tap';
import type { UpstreamHosts } from '../../../src/config/gateway-config.ts';
import { upstreamHosts } from '../../../src/config/sections/general.ts';
import {
  channelId,
  isChannelCall,
  replaceConnectUris,
  requestUncompressed,
  socketBase,
  upstreamSocketUrl,
} from '../../../src/server/websocket/channel-responses.ts';

const replaced = (text: string, to: (uri: string) => string | null = () => 'ws://localhost/x') =>
  replaceConnectUris(Buffer.from(text), ({ connectUri }) => to(connectUri))?.toString() ?? null;

t.test('only the addresses change, whatever stands around them', (t) => {
  const odd =
    '{ "id" :"a", "n":1.50, "connectUri"\n: "wss://a/channels/a" ' +
    ',"other":"connectUri","x":{"y":[1e400,"\\u00e9é\\""]}}\n';
  t.equal(replaced(odd), odd.replace('wss://a/channels/a', 'ws://localhost/x'));
  const escaped = '{"connect\\u0055ri":"wss:\\/\\/a\\/channels\\/a","value":"wss://a/channels/a"}';
  t.equal(replaced(escaped), '{"connect\\u0055ri":"ws://localhost/x","value":"wss://a/channels/a"}');
  const tricky = '{"a":"\\\\","b\\"connectUri":"wss://a/channels/a","connectUri":"wss://a/channels/a"}';
  t.equal(replaced(tricky), '{"a":"\\\\","b\\"connectUri":"wss://a/channels/a","connectUri":"ws://localhost/x"}');
  t.end();
});

t.test('each channel of a list gets its own', (t) => {
  const text =
    '{"entities":[{"connectUri":"wss://a/channels/1","id":"1"},' +
    '{"connectUri":"wss://a/channels/2","id":"2"},null,7],"total":2}';
  t.equal(
    replaced(text, (uri) => (uri.endsWith('1') ? 'ws://one' : null)),
    text.replace('wss://a/channels/1', 'ws://one'),
  );
  t.end();
});

t.test('what has no channel in it is left alone', (t) => {
  for (const text of [
    '',
    'connectUri',
    '[]',
    'null',
    '"connectUri"',
    '{"connectUri":7}',
    '{"deep":{"connectUri":"wss://a"}}',
    '{"connectUri":"wss://a"',
  ]) {
    t.equal(replaced(text), null, text);
  }
  t.equal(
    replaced('{"connectUri":"wss://a"}', () => null),
    null,
  );
  t.end();
});

t.test('any document keeps its meaning and its other octets', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.webUrl(), fc.nat(4), (rest, uri, indent) => {
      const document = { before: rest, connectUri: uri, after: { connectUri: rest } };
      const text = JSON.stringify(document, null, indent);
      const result = replaced(text, () => 'ws://here') as string;
      t.same(JSON.parse(result), JSON.parse(JSON.stringify({ ...document, connectUri: 'ws://here' })));
      return result.length - text.length === JSON.stringify('ws://here').length - JSON.stringify(uri).length;
    }),
  );
  t.end();
});

t.test('octets that are no UTF-8 stay as they are', (t) => {
  const body = Buffer.concat([
    Buffer.from('{"name":"'),
    Buffer.from([0xff, 0xfe]),
    Buffer.from('","connectUri":"wss://a/channels/a"}'),
  ]);
  const result = replaceConnectUris(body, () => 'ws://b');
  t.ok(result?.includes(Buffer.from([0x22, 0xff, 0xfe, 0x22])));
  t.end();
});

t.test('sockets go to the region, or to the [gateway] host where that is set', (t) => {
  const region = upstreamHosts('mypurecloud.de', null);
  const gateway = (path: string, origin = 'https://gw.corp:8443'): UpstreamHosts =>
    upstreamHosts('mypurecloud.de', { origin, path, loginPrefix: '/login', apiPrefix: '/api' });
  for (const [uri, hosts, to] of [
    ['wss://streaming.mypurecloud.de/channels/a', region, 'wss://streaming.mypurecloud.de/channels/a'],
    ['wss://streaming-2.mypurecloud.de/channels/a?x=1', region, 'wss://streaming-2.mypurecloud.de/channels/a?x=1'],
    ['ws://streaming.mypurecloud.de/channels/a', region, null],
    ['wss://streaming.mypurecloud.de.evil.example/channels/a', region, null],
    ['wss://evilmypurecloud.de/channels/a', region, null],
    ['wss://user:pass@streaming.mypurecloud.de/channels/a', region, null],
    ['https://streaming.mypurecloud.de/channels/a', region, null],
    ['nonsense', region, null],
    ['wss://streaming.mypurecloud.de/channels/a', gateway(''), 'wss://gw.corp:8443/channels/a'],
    ['wss://streaming.mypurecloud.de/channels/a', gateway('/genesys'), 'wss://gw.corp:8443/genesys/channels/a'],
    [
      'wss://gw.corp:8443/streaming/channels/a?token=t',
      gateway('/genesys'),
      'wss://gw.corp:8443/streaming/channels/a?token=t',
    ],
    [
      'wss://public.corp/streaming/channels/a',
      gateway('', 'http://127.0.0.1:9'),
      'ws://127.0.0.1:9/streaming/channels/a',
    ],
  ] as const) {
    t.equal(upstreamSocketUrl(uri, hosts)?.href ?? null, to, `${uri} by ${hosts.streaming.origin}`);
  }
  t.end();
});

t.test('an id that does not fit into a path is none', (t) => {
  const id = (value: unknown, connectUri = 'wss://a/channels/from-the-uri') =>
    channelId({ id: value, connectUri, expires: null });
  t.equal(id('streaming-0-abc'), 'streaming-0-abc');
  t.equal(id(undefined), 'from-the-uri');
  t.equal(id(undefined, 'wss://a/channels/x?y#z'), 'x');
  for (const bad of ['', '..', '.', 'a/b', 'a?b', 'a b', 'é', 'a'.repeat(201)]) t.equal(id(bad), null, bad);
  t.end();
});

t.test('our own address is public_url, or the host the caller used', (t) => {
  t.equal(socketBase(null, 'localhost:8080', false), 'ws://localhost:8080');
  t.equal(socketBase(null, '[::1]:8080', true), 'wss://[::1]:8080');
  t.equal(socketBase('https://gw.corp/genesys/', 'ignored', false), 'wss://gw.corp/genesys');
  t.equal(socketBase('http://gw.corp', 'ignored', true), 'ws://gw.corp');
  t.end();
});

t.test('the calls that make or list channels, and no others', (t) => {
  const path = '/api/v2/notifications/channels';
  for (const [method, target] of [
    ['POST', path],
    ['GET', path],
    ['GET', `${path}?includechannels=token`],
  ] as const)
    t.ok(isChannelCall(method, target), `${method} ${target}`);
  for (const [method, target] of [
    ['DELETE', path],
    ['HEAD', path],
    ['POST', `${path}/id/subscriptions`],
    ['POST', `${path}x`],
    ['GET', '/api/v2/users'],
  ] as const)
    t.notOk(isChannelCall(method, target), `${method} ${target}`);
  t.end();
});

t.test('identity takes the place of every encoding that was asked for', (t) => {
  const headers = ['accept-encoding', 'gzip', 'X-A', '1', 'Accept-Encoding', 'br', 'Authorization', ''];
  requestUncompressed(headers);
  t.strictSame(headers, ['X-A', '1', 'Accept-Encoding', 'identity', 'Authorization', '']);
  t.end();
});
