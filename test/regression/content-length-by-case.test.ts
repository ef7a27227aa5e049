// CVE-2026-1525 of our HTTP client: Content-Length given twice in different spellings went out twice. Neither direction
// may carry two.

import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';
import { isRefusal, refusedBy } from '../helpers/refusal.ts';

for (const [first, second] of [
  ['Content-Length', 'content-length'],
  ['content-length', 'CONTENT-LENGTH'],
  ['Content-Length', 'Content-Length'],
] as const) {
  t.test(`a request with ${first} and ${second} is refused, equal or not`, async (t) => {
    const pair = await startBefore(t, (socket) => socket.write(ok()));
    for (const lengths of [
      [5, 5],
      [5, 0],
      [0, 5],
    ]) {
      isRefusal(
        t,
        await refusedBy(
          pair.port,
          `POST /api/v2/x HTTP/1.1\r\nHost: localhost\r\n${first}: ${lengths[0]}\r\n${second}: ` +
            `${lengths[1]}\r\n\r\nhello`,
        ),
        400,
      );
    }
    t.strictSame(pair.requests, []);
  });
  t.test(`an answer with ${first} and ${second} is not passed on`, async (t) => {
    const pair = await startBefore(t, (socket) =>
      socket.write(`HTTP/1.1 200 OK\r\n${first}: 5\r\n${second}: 2\r\n\r\nhello`),
    );
    isRefusal(
      t,
      await exchangeRaw(pair.port, 'GET /api/v2/x HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      502,
      'gateway.upstream.invalid',
    );
  });
}

t.test('look-alikes with an underscore go, and the body is framed once', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()));
  await exchangeRaw(
    pair.port,
    'POST /api/v2/x HTTP/1.1\r\nHost: localhost\r\nContent_Length: 0\r\nContent-Length: 5\r\ncontent_length: ' +
      '99\r\nTransfer_Encoding: chunked\r\n\r\nhello',
  );
  t.strictSame((pair.requests[0] as string).match(/^(content|transfer).*$/gim), ['content-length: 5']);
});
