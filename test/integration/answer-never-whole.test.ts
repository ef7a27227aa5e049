// Answers of which the gateway must read the body before it knows what to do, and whose body does not come: nobody
// waits for it for long, and it takes no connection from others.

import type { Socket } from 'node:net';
import t from 'tap';
import { startBefore } from '../helpers/direct.ts';
import { closed, openCaller } from '../helpers/raw-caller.ts';

const head = (status: number, more = '') =>
  `HTTP/1.1 ${status} No\r\n${more}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n`;
const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';
const POST = 'POST /api/v2/notifications/channels HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n';
/** `timeouts.body` is a minute: what is waited for that long fails by the time of the test. */
const timeouts = { connectMs: 5000, tokenMs: 4000, headersMs: 60_000, bodyMs: 60_000, totalWaitMs: 100 };

/** `calls`: a 401 that says nothing of its reason is tried once more with the next token. */
const cases: Record<string, { request: string; answer: string; told: RegExp; calls?: number }> = {
  'a 401': { request: GET, answer: head(401), told: /^HTTP\/1\.1 401 No\r\n/, calls: 2 },
  'a 401 with half a body': {
    request: GET,
    answer: `${head(401)}{"code":"bad.cre`,
    told: /^HTTP\/1\.1 401 No\r\n[\s\S]*\{"code":"bad\.cre$/,
    calls: 2,
  },
  'a 429 with Retry-After': { request: GET, answer: head(429, 'Retry-After: 1\r\n'), told: /^HTTP\/1\.1 429 No\r\n/ },
  'a 429 without': { request: GET, answer: head(429), told: /^HTTP\/1\.1 429 No\r\n/ },
  'a new channel': { request: POST, answer: head(200), told: /^HTTP\/1\.1 504 [\s\S]*gateway\.upstream\.timeout/ },
};

for (const [name, { request, answer, told, calls = 1 }] of Object.entries(cases)) {
  t.test(`${name} whose body never comes is told when timeouts.total_wait is over`, { timeout: 20_000 }, async (t) => {
    const pair = await startBefore(t, (socket) => socket.write(answer), { timeouts, server: { drainTimeoutMs: 0 } });
    const caller = await openCaller(t, pair.port);
    caller.socket.write(request);
    await caller.until((received) => told.test(received));
    t.equal(pair.requests.length, calls);
  });
}

t.test(
  'an answer that was given up for another try and never ends gives its connection back',
  { timeout: 20_000 },
  async (t) => {
    const upstream: Socket[] = [];
    const pair = await startBefore(
      t,
      (socket) => {
        upstream.push(socket);
        socket.write(upstream.length === 1 ? head(503) : 'HTTP/1.1 204 No Content\r\n\r\n');
      },
      {
        timeouts: { ...timeouts, totalWaitMs: 15_000 },
        retry: { max: 1, waitMinMs: 1, waitMaxMs: 1 },
        rateLimit: { connections: 2 },
      },
    );
    const caller = await openCaller(t, pair.port);
    caller.socket.write(GET);
    await caller.until((received) => received.startsWith('HTTP/1.1 204'));
    await closed(upstream[0] as Socket);
    t.equal(pair.gateway.runtime().upstream.dispatcher.occupancy().running, 0);
  },
);
