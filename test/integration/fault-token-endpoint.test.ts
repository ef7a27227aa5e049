// The token endpoint's ways to fail while no token is at hand: each has its answer, and nothing reaches the API.

import t from 'tap';
import { inlineSecret } from '../../src/secret.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';
import { TOKEN_FAULTS } from './fault-rows.ts';

/** By the test's clock; by that of the machine nothing takes so long. */
const TOKEN_MS = 20_000;
/** Shorter than the shortest wait between two attempts: each row is one attempt. */
const WAIT_MS = 900;

t.test('the rows', { jobs: 4 }, async (t) => {
  for (const row of TOKEN_FAULTS) {
    t.test(row.name, async (t) => {
      // Time stands still but for what the row may take.
      const clock = createFakeClock();
      const { url, sandbox, log } = await startGateway(t, {
        clock,
        awaitReady: false,
        sandbox: { switches: row.switches ?? {} },
        config: (origin) => ({
          timeouts: { tokenMs: TOKEN_MS },
          reauthentication: { refreshTokenWaitMaxMs: WAIT_MS },
          ...(row.secret && {
            credentials: [credentialAt(origin, { clientSecret: inlineSecret(row.secret, 'test') })],
          }),
        }),
      });
      if (row.within === 'timeouts.token') await clock.advance(TOKEN_MS);
      for (const method of ['GET', 'POST']) {
        const answer = await fetch(`${url}/api/v2/users`, { method, ...(method === 'POST' && { body: '{}' }) });
        t.equal(answer.headers.get('x-gateway-error'), row.code);
        t.equal(answer.status, row.code === 'gateway.credential.rejected' ? 424 : 503);
        if (row.code === 'gateway.credential.unavailable')
          t.match(answer.headers.get('retry-after'), /^[1-9]\d*$/, 'Retry-After');
        t.notMatch(
          await answer.text(),
          /Maintenance|broken|"access_token"|not-the-secret/,
          'nothing of the endpoint’s answer',
        );
      }
      t.equal(sandbox.stats.apiCallsTotal, 0, 'the API saw nothing');
      t.same(
        log.exchanges.map(({ attempts }) => attempts),
        [0, 0],
      );
    });
  }
});
