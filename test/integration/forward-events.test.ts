// What is sent piece by piece arrives piece by piece, however small the pieces: event streams down, slow bodies up.
// Each piece is sent only when the one before it has arrived, so nothing may be held back for the sake of the next.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { givenTokenConfig } from '../helpers/direct.ts';
import { startGatewayWith } from '../helpers/gateway.ts';
import { openCaller, signal } from '../helpers/raw-caller.ts';
import { startRawServer } from '../helpers/raw-http.ts';

const EVENTS = ['data: {"n":1}\n\n', ': a comment\n\n', 'id: 3\nevent: end\ndata\n\n'];
const piece = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

/** A gateway before an upstream whose first connection the test gets. */
async function start(t: Test) {
  const arrived = signal<Socket>();
  const upstream = await startRawServer(t, (socket) => arrived.fire(socket.setEncoding('latin1')));
  return { ...(await startGatewayWith(t, givenTokenConfig(upstream.origin))), upstream: arrived.fired };
}

for (const [name, head, frame] of [
  ['an event stream in chunks', 'Transfer-Encoding: chunked', piece],
  ['an event stream that ends with its connection', 'X-Kind: open', (text: string) => text],
  ['a body of a told length', `Content-Length: ${EVENTS.join('').length}`, (text: string) => text],
] as const) {
  t.test(`${name} comes down event by event`, async (t) => {
    const { port, upstream } = await start(t);
    const caller = await openCaller(t, port);
    caller.socket.write('GET /api/v2/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n');
    const far = await upstream;
    await once(far, 'data');
    far.write(`HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n${head}\r\n\r\n`);
    await caller.until((received) => received.includes('\r\n\r\n'));
    for (const event of EVENTS) {
      far.write(frame(event));
      await caller.until((received) => received.replaceAll(/\r\n[0-9a-f]+\r\n/g, '').includes(event.trimEnd()));
    }
    t.pass('the head, and then each event, before the next was sent');
  });
}

t.test('an upload goes up piece by piece, and its answer may begin before it ends', async (t) => {
  const { port, upstream } = await start(t);
  const caller = await openCaller(t, port);
  caller.socket.write('POST /api/v2/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n');
  let seen = '';
  caller.socket.write(piece('first'));
  const far = await upstream;
  far.on('data', (text: string) => {
    seen += text;
  });
  const until = async (text: string) => {
    while (!seen.includes(text)) await once(far, 'data');
  };
  await until('first');
  for (const text of ['x', 'second', 'third']) {
    caller.socket.write(piece(text));
    await until(piece(text).trimEnd());
  }
  far.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${piece('begun')}`);
  await caller.until((received) => received.includes('begun'));
  caller.socket.write(piece('after'));
  await until(piece('after').trimEnd());
  t.pass('both ways at once');
});
