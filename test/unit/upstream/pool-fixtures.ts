// A credential with several tokens without sockets: the layers of a call over real credentials, a platform that counts by
// token, and a token endpoint that notes how it is asked. All under the test's clock.

import { type Credentials, createCredentials, isSameAccount } from '../../../src/auth/credentials/credentials.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import type { TokenTransport } from '../../../src/auth/credentials/token-endpoint.ts';
import type { CredentialConfig, GatewayConfig } from '../../../src/config/gateway-config.ts';
import { createRateLimiter } from '../../../src/sandbox/rate-limiter.ts';
import type { Send } from '../../../src/upstream/call.ts';
import { RateLimits } from '../../../src/upstream/rate-limit/rate-limit.ts';
import { withRetry } from '../../../src/upstream/retry.ts';
import { withToken } from '../../../src/upstream/token.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createLogRecorder, credentialConfig } from '../auth/fixtures.ts';
import { clientConfig, createCall, createResponse, refusal } from './layer-fixtures.ts';

export type EndpointMood = 'good' | 'refuses' | 'throttles' | 'hangs';

interface IssuedToken {
  readonly value: string;
  readonly expiresAt: number;
  isRevoked: boolean;
}

export interface RangeOptions {
  perMinute?: number;
  requestsPerMinute?: number | 'auto';
  totalWaitMs?: number;
  latencyMs?: number;
  lifeS?: number;
  tokens?: number;
  queueMax?: number;
  isDurable?: boolean;
  mode?: 'enforce' | 'report';
  clients?: readonly string[];
}

/** What belongs to one configuration. */
interface Built {
  readonly account: CredentialConfig;
  readonly rateLimits: RateLimits;
  readonly credentials: Credentials;
  readonly layers: Send;
}

/** Everything of it. `reload` puts another configuration into use, as the gateway does. */
export function createRange(options: RangeOptions = {}) {
  const { perMinute = 300, totalWaitMs = 30_000, latencyMs = 50, lifeS = 86_400, queueMax = 5_000 } = options;
  const clock = createFakeClock();
  const log = createLogRecorder();
  const store = { ...createMemoryStore({ clock }), isDurable: options.isDurable ?? false };
  const limiter = createRateLimiter(clock);
  const issued: IssuedToken[] = [];
  const logins: { at: number; endedAt: number; number: number }[] = [];
  const seen: { token: number; target: string; status: number; at: number }[] = [];
  const faults: string[] = [];
  const state = { mood: 'good' as EndpointMood, running: 0, lifeS, loginMs: 100 };

  const transport: TokenTransport = async ({ timeoutMs }) => {
    state.running += 1;
    if (state.running > 1) faults.push('two token requests at once');
    const login = { at: clock.monotonic(), endedAt: Number.NaN, number: issued.length + 1 };
    logins.push(login);
    const { mood } = state;
    try {
      await new Promise<void>((resolve) => clock.after(mood === 'hangs' ? timeoutMs : state.loginMs, resolve));
      if (mood === 'refuses') return reply(400, { error: 'invalid_client' });
      if (mood === 'throttles')
        return reply(400, { error: 'invalid_request', error_description: 'rate limit exceeded; try later' });
      if (mood === 'hangs') throw new Error('nobody waits for this any more');
      const value = `at-${issued.length + 1}`;
      issued.push({ value, expiresAt: clock.now() + state.lifeS * 1_000, isRevoked: false });
      return reply(200, { access_token: value, token_type: 'bearer', expires_in: state.lifeS });
    } finally {
      state.running -= 1;
      login.endedAt = clock.monotonic();
    }
  };

  const send: Send = async (request) => {
    const value = (request.headers.at(-1) ?? '').replace('Bearer ', '');
    const token = issued.find((one) => one.value === value);
    request.record.attempts += 1;
    if (token === undefined) faults.push(`a call with no token: ${value}`);
    else if (clock.now() >= token.expiresAt) faults.push(`a call with a token that has ended: ${value}`);
    const isGood = token !== undefined && !token.isRevoked;
    const hit = isGood ? limiter.take(value, request.target, { perMinute }) : undefined;
    const status = isGood ? (hit === undefined ? 200 : 429) : 401;
    seen.push({
      token: issued.indexOf(token as IssuedToken) + 1,
      target: request.target,
      status,
      at: clock.monotonic(),
    });
    await new Promise<void>((resolve) => clock.after(latencyMs, resolve));
    request.record.upstreamMs += latencyMs;
    request.record.answerMs = latencyMs;
    if (!isGood) return createResponse(401, {}, JSON.stringify({ code: 'bad.credentials' }));
    if (hit === undefined) return createResponse(200);
    return refusal(String(hit.retryAfterS), {
      key: 'client.credentials.token.rate.per.minute',
      namespace: 'platform.api',
      value: perMinute,
    });
  };

  const routeOf = (method: string, target: string) => `${method} ${target}`;
  const retry = { max: 3, waitMinMs: 1_000, waitMaxMs: 5_000 };
  const build = (credential: Partial<CredentialConfig>, previous?: Built): Built => {
    const account = credentialConfig(credential);
    const config = {
      credentials: [account],
      reauthentication: { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 },
      timeouts: { tokenMs: 4_000 },
    } as unknown as GatewayConfig;
    const rateLimits = new RateLimits(
      {
        ...{
          clock,
          random: () => 0.5,
          log,
          retry,
          routeOf,
          clients: (options.clients ?? []).map((name) => clientConfig(name)),
        },
        settings: {
          mode: options.mode ?? 'enforce',
          requestsPerMinute: options.requestsPerMinute ?? perMinute,
          queueMax,
        },
      },
      previous && { limits: previous.rateLimits.limits, isKept: () => isSameAccount(previous.account, account) },
    );
    const credentials = createCredentials(
      { config, transport, store, clock, random: () => 0.5, log },
      previous?.credentials,
    );
    const layers = withRetry(rateLimits.wrap(withToken(send, { clock, routeOf })), {
      ...{ clock, random: () => 0.5, settings: retry, totalWaitMs },
    });
    return { account, rateLimits, credentials, layers };
  };

  let used = build({ tokens: options.tokens ?? 4 });
  used.credentials.start();
  const outcomes: { status: number | null; code: string | null; startedAt: number; tookMs: number }[] = [];

  return {
    clock,
    log,
    store,
    issued,
    logins,
    seen,
    faults,
    /** Its counts of calls, for programs that draw on the same tokens. */
    platform: limiter,
    state,
    outcomes,
    get credential() {
      return used.credentials.get('crm')!;
    },
    get credentials() {
      return used.credentials;
    },
    get limits() {
      return used.rateLimits.limits;
    },
    reload(credential: Partial<CredentialConfig>) {
      const before = used;
      used = build(credential, before);
      used.credentials.start();
      before.credentials.close(used.credentials);
    },
    /** A second process on the same store. */
    async restart(credential: Partial<CredentialConfig>) {
      used.credentials.close();
      await clock.advance(5_000);
      used = build(credential);
      used.credentials.start();
    },
    call({
      client = null,
      target = '/api/v2/users',
      isBound = false,
    }: {
      client?: string | null;
      target?: string;
      isBound?: boolean;
    } = {}) {
      const { source, pool } = used.credentials.get('crm')!;
      const request = {
        ...createCall({ client, target }),
        source,
        pool: isBound ? null : pool,
        place: 0,
        choice: null,
      };
      const outcome: (typeof outcomes)[number] = {
        status: null,
        code: null,
        startedAt: clock.monotonic(),
        tookMs: NaN,
      };
      outcomes.push(outcome);
      used.layers(request).then(
        ({ statusCode }) => {
          outcome.status = statusCode;
          outcome.tookMs = clock.monotonic() - outcome.startedAt;
        },
        (error) => {
          outcome.status = error.statusCode ?? 0;
          outcome.code = error.code ?? String(error);
          outcome.tookMs = clock.monotonic() - outcome.startedAt;
        },
      );
      return outcome;
    },
    calls(count: number, options: { client?: string; isBound?: boolean } = {}) {
      return Array.from({ length: count }, () => this.call(options));
    },
    /** How many calls the platform saw with each token, by the number in which it gave them out. */
    byToken() {
      const counts: Record<number, number> = {};
      for (const { token } of seen) counts[token] = (counts[token] ?? 0) + 1;
      return counts;
    },
  };
}

function reply(statusCode: number, body: object) {
  return { statusCode, headers: {}, body: Buffer.from(JSON.stringify(body)) };
}
