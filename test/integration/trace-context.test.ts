// traceparent and tracestate go through untouched; their ids are in the record; without them the record has a span id
// of its own and nothing is added.

import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

async function send(t: Parameters<typeof startBefore>[0], lines: string) {
  const pair = await startBefore(t, (socket) => void socket.write(ok('{}')));
  await exchangeRaw(pair.port, `GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`);
  const record = await pair.log.nextExchange();
  return { forwarded: pair.requests.at(-1) ?? '', record };
}

t.test('both headers reach the upstream octet for octet, and the ids are in the record', async (t) => {
  const lines = `TraceParent: 00-${TRACE}-${SPAN}-01\r\ntracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE\r\n`;
  const { forwarded, record } = await send(t, lines);
  t.match(forwarded, lines);
  t.equal(record.traceId, TRACE);
  t.equal(record.spanId, SPAN);
});

t.test('a later version with more in it is read too', async (t) => {
  const { record } = await send(t, `traceparent: cc-${TRACE}-${SPAN}-01-what-comes-later\r\n`);
  t.equal(record.traceId, TRACE);
});

t.test('without one nothing is added, and the record has a span id of its own', async (t) => {
  const { forwarded, record } = await send(t, '');
  t.notMatch(forwarded, /trace/i);
  t.equal(record.traceId, null);
  t.match(record.spanId, /^(?!0{16})[0-9a-f]{16}$/);
  const other = await send(t, '');
  t.not(other.record.spanId, record.spanId);
});

t.test('what is no trace context passes as it is and is not believed', async (t) => {
  for (const value of [
    `00-${TRACE}-${SPAN}`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    'nonsense',
  ]) {
    const { forwarded, record } = await send(t, `traceparent: ${value}\r\n`);
    t.match(forwarded, `traceparent: ${value}\r\n`);
    t.equal(record.traceId, null, value);
  }
});
