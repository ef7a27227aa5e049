// CVE-2026-48931 of Node's agent: what arrives on an idle kept-alive connection was taken as the answer to the next
// request.

import type { Socket } from 'node:net';
import t from 'tap';
import { comparable, ok, startBefore } from '../helpers/direct.ts';
import { closed } from '../helpers/raw-caller.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';

const get = (path: string) => `GET /api/v2/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

t.test('an answer that arrives while the connection is idle is nobody’s', async (t) => {
  let idle!: Socket;
  const pair = await startBefore(t, (socket, request) => {
    idle = socket;
    socket.write(ok(request.split(' ')[1] as string));
  });
  t.equal(comparable(await exchangeRaw(pair.port, get('first'))).body, '/api/v2/first');
  const first = idle;
  first.write(ok('<poison>'));
  await closed(first);
  t.equal(comparable(await exchangeRaw(pair.port, get('second'))).body, '/api/v2/second');
  t.not(idle, first, 'over another connection');
});

t.test('and one that arrives as the next request is on its way neither', async (t) => {
  for (let round = 0; round < 20; round += 1) {
    const pair = await startBefore(t, (socket, request) => {
      if (request.includes('/first')) socket.write(ok('first'), () => setImmediate(() => socket.write(ok('<poison>'))));
      else socket.write(ok('second'));
    });
    await exchangeRaw(pair.port, get('first'));
    const bodies = await Promise.all(Array.from({ length: 4 }, () => exchangeRaw(pair.port, get('second'))));
    for (const received of bodies) t.equal(comparable(received).body, 'second');
  }
});
