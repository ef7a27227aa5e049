// Four tokens at full scale on the real clock: 300 calls a minute each, one client, two minutes of the limit, one token
// revoked in the middle. A bit more than a minute.

import { Agent, request as httpRequest } from 'node:http';
import t from 'tap';
import { clientNamed } from '../helpers/clients.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';

const PER_MINUTE = 300;
const TOKENS = 4;
const CALLS = 2 * TOKENS * PER_MINUTE;
const CLIENTS = Array.from({ length: 1 }, (_, index) => `client-${index}`);

for (const requestsPerMinute of [PER_MINUTE, 'auto'] as const) {
  t.test(`${CALLS} calls at once over ${TOKENS} tokens, requests_per_minute = ${requestsPerMinute}`, async (t) => {
    const { url, sandbox, log } = await startGateway(t, {
      sandbox: {
        switches: {
          latencyMs: 50,
          rateLimit: { perMinute: PER_MINUTE, key: 'client.credentials.token.rate.per.minute' },
        },
      },
      config: (origin) => ({
        clients: CLIENTS.map((name) => clientNamed(name)),
        credentials: [credentialAt(origin, { tokens: TOKENS })],
        rateLimit: { requestsPerMinute, queueMax: 5_000 },
        timeouts: { totalWaitMs: 600_000 },
      }),
    });
    const logins = { running: 0, most: 0 };
    sandbox.events.emitter.on('request', ({ kind }) => {
      if (kind === 'token') logins.most = Math.max(logins.most, ++logins.running);
    });
    sandbox.events.emitter.on('answer', ({ kind }) => {
      if (kind === 'token') logins.running -= 1;
    });
    const agent = new Agent({ keepAlive: true, maxSockets: 400 });
    t.teardown(() => agent.destroy());
    const startedAt = performance.now();
    const endedAt: number[] = [];
    const call = (client: string) =>
      new Promise<number>((resolve, reject) => {
        httpRequest(`${url}/api/v2/users`, { agent, headers: { 'X-Gateway-Key': `${client}-secret` } }, (answer) => {
          answer.resume().on('end', () => {
            endedAt.push(performance.now() - startedAt);
            if (endedAt.length === CALLS * 0.75) sandbox.revokeTokens(({ serial }) => serial === 3);
            resolve(answer.statusCode as number);
          });
        })
          .on('error', reject)
          .end();
      });
    const statuses = await Promise.all(
      Array.from({ length: CALLS }, (_, index) => call(CLIENTS[index % CLIENTS.length] as string)),
    );
    const inFirst = endedAt.filter((ms) => ms < 60_000).length;
    const { rateLimitedCalls, apiCallsTotal, tokenRequestsTotal } = sandbox.stats;
    t.comment(
      `${inFirst} in the first minute, all ${CALLS} after ${Math.round(Math.max(...endedAt))} ms; ` +
        `${rateLimitedCalls} of ${apiCallsTotal} refused; ${tokenRequestsTotal} logins`,
    );
    t.ok(
      statuses.every((status) => status === 200),
      'no caller saw the revocation',
    );
    t.ok(log.exchanges.every(({ attempts }) => attempts <= 2));
    t.ok(inFirst >= TOKENS * PER_MINUTE);
    t.ok(Math.max(...endedAt) <= 1.2 * 60_000);
    t.ok(rateLimitedCalls <= (requestsPerMinute === 'auto' ? apiCallsTotal * 0.03 : 0));
    t.equal(tokenRequestsTotal, TOKENS + 1);
    t.equal(logins.most, 1, 'never two at once');
  });
}
