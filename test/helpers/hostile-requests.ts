// Requests that nearly make sense: every address of the gateway, with headers and bodies that fit, or nearly.

import type { Dice } from './dice.ts';

/** What answers gave that later requests may show. */
export interface Gathered {
  handle: string;
  refreshHandle: string;
}

/** The local secret and the channel are shown now and then. */
export interface Known {
  readonly port: number;
  readonly secret: string;
  readonly channelId: string;
}

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT', 'get', 'PROPFIND'];
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

const targets = (dice: Dice, channelId: string) => [
  ...[
    '/api/v2/users',
    '/api/v2/users/me?x=1',
    '/two/api/v2/users',
    '/api/v2/tokens/me',
    '/api/v2/notifications/channels',
    '/api/api/v2/users',
  ],
  ...[
    '/login/oauth/token',
    '/oauth/token',
    '/oauth/authorize?client_id=id&x=%zz',
    '/logout',
    `/streaming/channels/${channelId}`,
  ],
  ...[
    '/-/status',
    '/-/login/two',
    '/-/callback?code=a&state=b',
    '/-/reload',
    '/-/credentials/default/refresh',
    '/-/credentials/two/assertion',
  ],
  ...[
    '/metrics',
    '/',
    '/livez',
    '/readyz',
    '/api/v2/%2e%2e/x',
    '//api/v2/users',
    '/api/v2/a%2Fb,c%',
    '*',
    'http://localhost/api/v2/users',
  ],
  `/api/v2/${'z'.repeat(dice.int(3000))}`,
];

/** One request, octets and all. */
export function hostileRequest(
  dice: Dice,
  { port, secret, channelId }: Known,
  { handle, refreshHandle }: Gathered,
): Buffer {
  const target = dice.pick(targets(dice, channelId));
  const method = dice.chance(0.7) ? dice.pick(['GET', 'POST']) : dice.pick(METHODS);
  const headers = [
    `Host: ${dice.chance(0.9) ? `localhost:${port}` : dice.pick(['evil.test', 'localhost:99999', '', '[::1]'])}`,
  ];
  const maybe = (probability: number, lines: readonly string[]) =>
    dice.chance(probability) && headers.push(dice.pick(lines));
  const basic = Buffer.from(`crm:${secret}`).toString('base64');
  maybe(
    0.6,
    [`Bearer ${secret}`, `Bearer ${handle}`, `Basic ${basic}`, 'Basic !!', 'Bearer', 'x', 'Basic Y2lkOng='].map(
      (value) => `Authorization: ${value}`,
    ),
  );
  maybe(0.2, [
    `X-Gateway-Key: ${secret}`,
    `X-Gateway-Key: ${handle}`,
    'X-Gateway-Credential: two',
    'X-Gateway-Credential: nope',
  ]);
  maybe(0.3, ['X-Gateway-Request: 1']);
  maybe(0.06, [
    `Origin: http://localhost:${port}`,
    'Origin: http://evil.test',
    'Origin: null',
    'Sec-Fetch-Site: cross-site',
  ]);
  maybe(0.2, [
    'Connection: close',
    'Connection: upgrade',
    'Expect: 100-continue',
    'Accept-Encoding: gzip, br',
    'Access-Control-Request-Method: GET',
  ]);
  maybe(0.2, [
    'traceparent: x',
    'Range: bytes=0-1',
    'X-HTTP-Method-Override: DELETE',
    'Content-Type: application/json',
    'X-Forwarded-For: 192.0.2.1',
  ]);
  if (target.includes('token')) maybe(0.8, ['Content-Type: application/x-www-form-urlencoded']);
  if (target.includes('streaming') && dice.chance(0.8)) {
    headers.push('Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${KEY}`);
    return Buffer.from(`GET ${target} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`, 'latin1');
  }
  const body = dice.pick([
    ...['', '', '{}', 'grant_type=client_credentials', `grant_type=refresh_token&refresh_token=${refreshHandle}`],
    'grant_type=authorization_code&code=abc&redirect_uri=http://localhost/&client_id=id',
    'grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer&assertion=PHg+&orgName=o',
    ...[
      `{"password":"x","a":${'['.repeat(dice.int(500))}`,
      'x'.repeat(dice.int(80_000)),
      'access_token=a&expires_in=5&state=b',
    ],
  ]);
  return Buffer.from(`${method} ${target} HTTP/1.1\r\n${headers.join('\r\n')}\r\n${framed(dice, body)}`, 'latin1');
}

function framed(dice: Dice, body: string): string {
  if (body === '' && dice.chance(0.9)) return '\r\n';
  if (dice.chance(0.2))
    return (
      'Transfer-Encoding: ' +
      `chunked\r\n\r\n${body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`}0\r\n\r\n`
    );
  const length = dice.chance(0.15) ? dice.pick([body.length + 3, '-1', '+1', '1,1', '0x1']) : body.length;
  return `Content-Length: ${length}\r\n\r\n${body}`;
}
