// The token endpoint's ways to fail while no token is at hand: each has its answer, and nothing reaches the API.

import t from 'tap';
import { inlineSecret } from '../../src/config/secret-source.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';
import { TOKEN_FAULTS } from './fault-rows.ts';

const TOKEN_MS = 300;
const SLACK_MS = 600;

t.test('the rows', { jobs: 4 }, async (t) => {
  for (const row of TOKEN_FAULTS) {
    t.test(row.name, async (t) => {
      const { url, sandbox, log } = await startGateway(t, {
        awaitReady: false,
        sandbox: { switches: row.switches ?? {} },
        config: (origin) => ({
          timeouts: { tokenMs: TOKEN_MS },
          ...(row.secret && { credentials: [credentialAt(origin, { clientSecret: inlineSecret(row.secret, 'test') })] }),
        }),
      });
      for (const method of ['GET', 'POST']) {
        const startedAt = performance.now();
        const answer = await fetch(`${url}/api/v2/users`, { method, ...(method === 'POST' && { body: '{}' }) });
        const tookMs = performance.now() - startedAt;
        t.equal(answer.headers.get('x-gateway-error'), row.code);
        t.equal(answer.status, row.code === 'gateway.credential.rejected' ? 424 : 503);
        if (row.code === 'gateway.credential.unavailable') t.match(answer.headers.get('retry-after'), /^[1-9]\d*$/, 'Retry-After');
        t.ok(tookMs <= (row.within === 'timeouts.token' ? TOKEN_MS : 0) + SLACK_MS, `took ${Math.round(tookMs)} ms`);
        t.notMatch(await answer.text(), /Maintenance|broken|"access_token"|not-the-secret/, 'nothing of the endpoint’s answer');
      }
      t.equal(sandbox.stats.apiCallsTotal, 0, 'the API saw nothing');
      t.same(
        log.exchanges.map(({ attempts }) => attempts),
        [0, 0],
      );
    });
  }
});
