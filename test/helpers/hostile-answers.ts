// An upstream that nearly makes sense: API, token endpoint and sockets in one, whose answers fit, or nearly, or break
// off.

import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Dice } from './dice.ts';

/** The secrets it gives out, which nobody else may ever see. */
export interface UpstreamSecrets {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly channelId: string;
}

const STATUSES = [
  ...[
    '200 OK',
    '200 OK',
    '201 Created',
    '204 No Content',
    '304 Not Modified',
    '400 Bad',
    '401 Unauthorized',
    '403 x',
    '404 ',
    '429 Too Many',
  ],
  ...['500 x', '502 x', '503 x', '504 x', '100 Continue', '103 Early', '302 Found', '101 Switching Protocols', '999 x'],
];
const EXTRAS = [
  ...[
    'Retry-After: 1',
    'Retry-After: -5',
    'Retry-After: Wed, 21 Oct 2065 07:28:00 GMT',
    'Retry-After: 99999999999',
    'Retry-After: x',
  ],
  ...[
    'Set-Cookie: a=b',
    'Location: http://localhost/api/v2/x',
    'Location: http://[::1',
    'Location: //',
    'Content-Encoding: gzip',
  ],
  ...[
    'Content-Encoding: br',
    'X-Gateway-Error: forged',
    'Connection: x-a, keep-alive',
    'Upgrade: websocket',
    'Trailer: x',
  ],
];

/** Serves one connection of the gateway. */
export function answerHostilely(dice: Dice, secrets: UpstreamSecrets, socket: Socket): void {
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = text.slice(0, end);
    text = '';
    // What was ended is answered no more; nor could it be reset: Node would never close it then.
    if (socket.writableEnded) return;
    if (dice.chance(0.03)) {
      socket.resetAndDestroy();
      return;
    }
    // After an upgrade what comes is no request.
    if (/^upgrade: *websocket/im.test(head)) socket.removeAllListeners('data').resume();
    const [octets, spoilt] = answerTo(head, dice, secrets);
    socket.write(dice.chance(spoilt) ? dice.spoil(octets) : octets);
    if (dice.chance(0.3)) socket.end();
  });
}

/** And how likely it is spoilt: a gateway that never gets a token is never asked for more. */
function answerTo(head: string, dice: Dice, secrets: UpstreamSecrets): [octets: Buffer, spoilt: number] {
  if (/^upgrade: *websocket/im.test(head)) return [socketAnswer(head, dice), 0.4];
  if (/^POST \S*\/oauth\/token/.test(head)) return [tokenAnswer(dice, secrets), 0.15];
  return [apiAnswer(dice, secrets), 0.5];
}

function apiAnswer(dice: Dice, { channelId }: UpstreamSecrets): Buffer {
  const limit = {
    limit: { value: dice.int(400) },
    code: 'too.many.requests',
    status: 429,
    message: 'Retry the request in [3] seconds',
  };
  const connectUri = dice.pick([
    `wss://streaming.localhost/channels/${channelId}`,
    `wss://x/channels/${channelId}`,
    '',
    'nonsense',
    5,
  ]);
  const body = dice.pick([
    ...['{}', '', 'x'.repeat(dice.int(100_000)), JSON.stringify(limit), JSON.stringify({ code: 'bad.credentials' })],
    ...[JSON.stringify({ id: channelId, connectUri }), JSON.stringify({ entities: [{ id: channelId, connectUri }] })],
  ]);
  const headers = [`Content-Type: ${dice.pick(['application/json', 'text/html', '', 'multipart/form-data'])}`];
  if (dice.chance(0.3)) headers.push(dice.pick(EXTRAS));
  if (dice.chance(0.1)) headers.push(`ININ-Correlation-Id: ${'a'.repeat(dice.int(3000))}`);
  const head = `HTTP/1.1 ${dice.pick(STATUSES)}\r\n${headers.join('\r\n')}\r\n`;
  if (dice.chance(0.2)) {
    const chunks = body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`;
    return Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n${dice.pick(['', 'X-T: 1\r\n'])}\r\n`);
  }
  if (dice.chance(0.2)) return Buffer.from(`${head}Connection: close\r\n\r\n${body}`);
  const wrong = [body.length + 5, Math.max(0, body.length - 3), '-1', 'abc', '1e3', '0x10', '99999999999999999999'];
  return Buffer.from(`${head}Content-Length: ${dice.chance(0.2) ? dice.pick(wrong) : body.length}\r\n\r\n${body}`);
}

function tokenAnswer(dice: Dice, { accessToken, refreshToken }: UpstreamSecrets): Buffer {
  const token = (more: object) =>
    JSON.stringify({ access_token: `${accessToken}${dice.int(1e9)}`, token_type: 'bearer', ...more });
  const odd = [
    ...[
      token({ expires_in: dice.pick([3, 1, 0, -1, '300', 1e12, null, 'x']) }),
      token({ expires_in: 60, refresh_token: refreshToken }),
    ],
    ...[
      '{"error":"invalid_client"}',
      '{"error":"invalid_request","description":"rate limit exceeded"}',
      '',
      '<html>',
      '[]',
      'null',
      '"x"',
    ],
    ...['{"access_token":5}', '{"access_token":"a\\r\\nb"}'],
  ];
  const isGood = dice.chance(0.8);
  const body = isGood ? token({ expires_in: 86_400, refresh_token: refreshToken }) : dice.pick(odd);
  const status = isGood ? '200 OK' : dice.pick(['200 OK', '400 Bad', '401 x', '429 x', '500 x', '503 x']);
  return Buffer.from(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function socketAnswer(head: string, dice: Dice): Buffer {
  const key = /^sec-websocket-key: *(\S+)/im.exec(head)?.[1] ?? '';
  const right = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  const accept = `Sec-WebSocket-Accept: ${dice.chance(0.8) ? right : 'wrong'}`;
  const frames = Array.from({ length: dice.int(5) }, () => {
    const rest = dice.pick([
      [2, 65, 66],
      [126, 0, 5, 1, 2, 3, 4, 5],
      [127, 0, 0, 0, 0, 0, 0, 0, 1, 7],
      [0],
      [0x82, 1, 2, 3, 4, 5, 6],
    ]);
    return Buffer.from([dice.pick([0x81, 0x82, 0x01, 0x80, 0x88, 0x89, 0x8a, 0xff, 0x83]), ...rest]);
  });
  const answer = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${accept}\r\n\r\n`;
  return Buffer.concat([Buffer.from(answer), ...frames]);
}
