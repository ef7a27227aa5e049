// What the tests of the layers share: calls without a server, and a platform of answers and limits under the test's own
// clock.

import type { ClientConfig } from '../../../src/config/gateway-config.ts';
import { createExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { createRateLimiter } from '../../../src/sandbox/rate-limiter.ts';
import { formatRetryAfter, type RateLimit } from '../../../src/sandbox/switches.ts';
import type { Send, UpstreamRequest, UpstreamResponse } from '../../../src/upstream/call.ts';
import type { LimitSettings } from '../../../src/upstream/rate-limit/limits.ts';
import { type RateLimitDeps, RateLimits } from '../../../src/upstream/rate-limit/rate-limit.ts';
import { NO_BODY, type RequestBody } from '../../../src/upstream/request-body.ts';
import { withRetry } from '../../../src/upstream/retry.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';

export type TestCall = UpstreamRequest & {
  connection: { disconnected: boolean; onDisconnect: (() => void) | null };
  leave(): void;
};

export interface CallOptions {
  method?: string;
  target?: string;
  client?: string | null;
  credential?: string;
  origin?: string;
  body?: RequestBody;
}

/** A call that nobody sent. */
export function createCall({
  method = 'GET',
  target = '/api/v2/users',
  client = null,
  credential = 'crm',
  ...rest
}: CallOptions = {}): TestCall {
  const record = createExchangeRecord(0);
  record.client = client;
  const connection: TestCall['connection'] = { disconnected: false, onDisconnect: null, rejectWait: null };
  return {
    method,
    base: { origin: rest.origin ?? 'http://127.0.0.1:1', pathPrefix: '' },
    target,
    headers: ['Authorization', ''],
    body: rest.body ?? NO_BODY,
    limitKey: credential,
    source: undefined as unknown as UpstreamRequest['source'],
    record,
    connection,
    leave() {
      connection.disconnected = true;
      connection.onDisconnect?.();
    },
  };
}

/** An answer whose whole body is there. `uses` counts what became of it. */
export function createResponse(
  statusCode: number,
  headers: Record<string, string> = {},
  body = '',
): UpstreamResponse & { uses: string[] } {
  const uses: string[] = [];
  return {
    statusCode,
    statusText: '',
    rawHeaders: Object.entries(headers).flatMap(([name, value]) => [Buffer.from(name), Buffer.from(value)]),
    pipe: () => void uses.push('pipe'),
    resume: () => {},
    peek: async () => ({ bytes: Buffer.from(body), complete: true }),
    abort: () => void uses.push('abort'),
    discard: () => void uses.push('discard'),
    uses,
  };
}

/** The platform's 429. */
export function refusal(retryAfter: string | null, limit: object | null): ReturnType<typeof createResponse> {
  const headers: Record<string, string> = retryAfter === null ? {} : { 'Retry-After': retryAfter };
  return createResponse(
    429,
    headers,
    JSON.stringify({ code: 'too.many.requests.retry.after', status: 429, ...(limit && { limit }) }),
  );
}

/** How long a call takes to be written, then until it is counted, then until it is answered. */
interface PlatformTimes {
  latencyMs?: number;
  dial?: () => number;
  way?: () => number;
}

/** The simulation's limits without its sockets. */
export function createPlatform(
  clock: FakeClock,
  { latencyMs = 50, dial = () => 0, way = () => 0, ...limit }: RateLimit & PlatformTimes = {},
) {
  const limiter = createRateLimiter(clock);
  const seen: { target: string; client: string | null; at: number; status: number }[] = [];
  const send: Send = async (request) => {
    request.record.attempts += 1;
    const dialMs = dial();
    const wayMs = way();
    if (dialMs + wayMs > 0) await new Promise<void>((resolve) => clock.after(dialMs + wayMs, resolve));
    const pageSize = Number(/[?&]pageSize=(\d+)/.exec(request.target)?.[1] ?? 25);
    const hit = limiter.take(request.limitKey, `${request.method} ${request.target}`, limit, { pageSize });
    seen.push({
      target: request.target,
      client: request.record.client,
      at: clock.monotonic(),
      status: hit ? 429 : 200,
    });
    await new Promise<void>((resolve) => clock.after(latencyMs, resolve));
    request.record.upstreamMs += dialMs + wayMs + latencyMs;
    request.record.answerMs = wayMs + latencyMs;
    if (!hit) return createResponse(200);
    const { retryAfterS, ...named } = hit;
    return refusal(
      limit.retryAfterAs === 'none'
        ? null
        : (formatRetryAfter({ retryAfterS, retryAfterAs: limit.retryAfterAs ?? 'seconds' }, clock.now()) ?? null),
      named,
    );
  };
  return { send, seen, refused: () => seen.filter(({ status }) => status === 429).length };
}

/** A `[client.NAME]` with nothing but a name, and perhaps a limit. */
export function clientConfig(name: string, requestsPerMinute: number | null = null): ClientConfig {
  return { name, requestsPerMinute } as ClientConfig;
}

export interface StackOptions {
  clock?: FakeClock;
  totalWaitMs?: number;
  settings?: Partial<LimitSettings>;
  clients?: readonly ClientConfig[];
  rateLimits?: Partial<RateLimitDeps>;
}

/** retry( rate limit( send )) under a fake clock, and what each call came to. */
export function createStack(sendOf: (clock: FakeClock) => Send, options: StackOptions = {}) {
  const clock = options.clock ?? createFakeClock();
  const warnings: object[] = [];
  const quiet = () => {};
  const retry = { max: 3, waitMinMs: 1000, waitMaxMs: 5000 };
  const rateLimits = new RateLimits({
    clock,
    random: () => 0.5,
    log: { error: quiet, info: quiet, debug: quiet, warn: (fields: object) => void warnings.push(fields) },
    settings: { mode: 'enforce', requestsPerMinute: 'auto', queueMax: 1000, ...options.settings },
    retry,
    clients: options.clients ?? [],
    routeOf: (method, target) => `${method} ${target}`,
    ...options.rateLimits,
  });
  const send = withRetry(rateLimits.wrap(sendOf(clock)), {
    clock,
    random: () => 0.5,
    settings: retry,
    totalWaitMs: options.totalWaitMs ?? 15_000,
  });
  const run = (request: TestCall) => {
    const startedAt = clock.monotonic();
    const { promise, resolve } = withResolver();
    const outcome: Outcome = {
      request,
      startedAt,
      done: promise,
      status: null,
      code: null,
      retryAfterMs: undefined,
      response: null,
      tookMs: Number.NaN,
    };
    const ended = () => {
      outcome.tookMs = clock.monotonic() - startedAt;
      resolve();
    };
    send(request).then(
      (response) => {
        outcome.status = response.statusCode;
        outcome.response = response;
        ended();
      },
      (error) => {
        outcome.status = error.statusCode ?? 0;
        outcome.code = error.code;
        outcome.retryAfterMs = error.retryAfterMs;
        ended();
      },
    );
    return outcome;
  };
  return { clock, run, send, rateLimits, warnings };
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

export interface Outcome {
  request: TestCall;
  startedAt: number;
  done: Promise<void>;
  /** Null while it runs. */
  status: number | null;
  code: string | null;
  retryAfterMs: number | undefined;
  response: UpstreamResponse | null;
  tookMs: number;
}
