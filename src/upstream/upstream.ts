// The upstream of one configuration: the layers of a call on one page, retry → rate limit → token → dispatch, over
// connections that a reload which does not change how we dial keeps open.

import { Agent, type Dispatcher } from 'undici';
import type { TokenTransport } from '../auth/credentials/token-endpoint.ts';
import type { Clock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { isSameSetting } from '../config/gateway-config.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import { identifyOperation } from '../operations/table.ts';
import type { QueueCapacity, Send } from './call.ts';
import { type DispatcherOptions, UpstreamDispatcher } from './dispatcher.ts';
import { Egress } from './egress/egress.ts';
import { toGatewayError } from './errors.ts';
import type { GatesByOrigin } from './gate.ts';
import type { WarmSettings } from './origin-connections.ts';
import type { LimitState, Limits } from './rate-limit/limits.ts';
import { RateLimits } from './rate-limit/rate-limit.ts';
import type { QueuedStart } from './rate-limit/rate-limiter.ts';
import type { WindowMaker } from './rate-limit/rate-window.ts';
import type { TokenLimitState } from './rate-limit/window-pool.ts';
import { withRetry } from './retry.ts';
import { withToken } from './token.ts';

/** What an upstream is made with. */
export interface UpstreamDeps extends ConnectionsDeps {
  /** The log's. */
  readonly liveSecrets?: LiveSecrets | undefined;
  /** Makes what limits are counted in; null where this instance counts alone. */
  readonly quota?: WindowMaker | null;
}

/** The upstream of the configuration before. `isKept`: whether the limits of that credential go on to count. */
export interface PreviousUpstream {
  readonly config: GatewayConfig;
  readonly upstream: Upstream;
  readonly isKept: (credential: string) => boolean;
}

/** One way out, shared by calls, token requests and sockets. */
export interface Upstream {
  readonly egress: Egress;
  readonly dispatcher: UpstreamDispatcher;
  readonly transport: TokenTransport;
  /** For what is neither a call nor a login: dialled as they are, and never with our client certificate. */
  readonly post: HttpPost;
  /** All layers: retry, rate limit, token and replay, dispatch. */
  readonly send: Send;
  /**
   * For calls of our own, which carry their token: neither retried nor renewed, and refused with gateway.rate.limited
   * where calls of others may want the room.
   */
  readonly aside: Send;
  /** What the platform's limits are doing, for status and metrics. */
  readonly limits: () => LimitState[];
  /** Who waits for them, by the limit's name, in their order; so many for each. */
  readonly lines: (most: number) => ReadonlyMap<string, readonly QueuedStart[]>;
  /** The same of each token of a credential that has several; null for any other. */
  readonly tokenLimits: (credential: string) => TokenLimitState[] | null;
  /** For the next configuration's upstream. */
  readonly parts: { readonly connections: SharedConnections; readonly limits: Limits };
  /** Takes the place of `previous`: keeps hosts warm as its configuration says, while the other does not any more. */
  takeOver(previous: Upstream): void;
  /**
   * Resolves when what still runs has ended and its connections are closed, save those that a later configuration
   * shares.
   */
  retire(): Promise<void>;
  /** Ends connections; exchanges that still run are cut. */
  close(): Promise<void>;
}

/** Endpoint limits are told apart by this. Looked up only once the platform has refused something. */
function routeOf(method: string, target: string): string {
  return `${method} ${identifyOperation(method, target).template}`;
}

/** Opens nothing before the first call. Shares the connections of `previous` where both dial alike. */
export function createUpstream(config: GatewayConfig, deps: UpstreamDeps, previous?: PreviousUpstream): Upstream {
  const { clock, random, log, liveSecrets: secrets } = deps;
  const { rateLimit: settings, retry, clients, timeouts } = config;
  const { connections: shared, limits: counted } = previous?.upstream.parts ?? {};
  const kept = previous && counted && { limits: counted, isKept: previous.isKept };
  const organizations = organizationsOf(config);
  const limited = { settings, retry, clients, routeOf, organizations, secrets, windows: deps.quota ?? undefined };
  const rateLimits = new RateLimits({ clock, random, log, ...limited }, kept);
  const { limits } = rateLimits;
  const connections =
    shared && dialAlike(previous?.config ?? config, config)
      ? shared.retain()
      : new SharedConnections(config, deps, limits.capacity, shared?.gates);
  const { egress, dispatcher } = connections;
  const sendWithToken = withToken(dispatcher.send, { clock, routeOf });
  const send = withRetry(rateLimits.wrap(sendWithToken), {
    clock,
    random,
    settings: retry,
    totalWaitMs: timeouts.totalWaitMs,
  });
  return {
    egress,
    dispatcher,
    send,
    aside: (request) => rateLimits.sendAside(dispatcher.send, request),
    transport: createPost(dispatcher.agent),
    post: (request) => connections.post(request),
    limits: () => limits.states(),
    lines: (most) => limits.lines(most),
    tokenLimits: (credential) => limits.ofTokens(credential),
    parts: { connections, limits },
    takeOver(previous) {
      dispatcher.keepWarm(warmSettings(config), previous.dispatcher);
      if (previous.dispatcher !== dispatcher) previous.dispatcher.keepWarm(NOT_WARM);
    },
    retire: () => connections.release(),
    close: () => connections.destroy(),
  };
}

const NOT_WARM: WarmSettings = { keepWarmMs: 0, hosts: null };

/** Hosts that no credential leads to any more are not kept warm. */
function warmSettings({ credentials, general, timeouts }: WarmConfig): WarmSettings {
  const hosts = new Map<string, string>();
  for (const { api, login } of [general.hosts, ...credentials.map((credential) => credential.hosts)])
    hosts.set(api.origin, login.origin);
  return { keepWarmMs: timeouts.keepWarmMs, hosts };
}

/** The organisations that logins name. */
function organizationsOf({ credentials }: GatewayConfig): ReadonlyMap<string, string> {
  const organizations = new Map<string, string>();
  for (const { name, orgName, hosts } of credentials)
    if (orgName !== null) organizations.set(name, `${orgName.toLowerCase()} (${hosts.domain})`);
  return organizations;
}

function dialAlike(a: GatewayConfig, b: GatewayConfig): boolean {
  const { connectMs, headersMs, bodyMs } = a.timeouts;
  const isInTime =
    connectMs === b.timeouts.connectMs && headersMs === b.timeouts.headersMs && bodyMs === b.timeouts.bodyMs;
  const areAsMany = a.rateLimit.connections === b.rateLimit.connections;
  return isInTime && areAsMany && isSameSetting(a.proxy, b.proxy) && isSameSetting(a.tls, b.tls);
}

type WarmConfig = Pick<GatewayConfig, 'credentials' | 'general' | 'timeouts'>;

/** The settings that connections are made of. */
type ConnectionSettings = Pick<GatewayConfig, 'proxy' | 'tls' | 'rateLimit'> & WarmConfig;

/** What connections are made with. `random` is 0 (inclusive) to 1 (exclusive). */
interface ConnectionsDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Told of each request that is sent, by this and by later configurations. */
  readonly onSent?: DispatcherOptions['onSent'];
}

/**
 * Upstream connections, reference-counted so that a reload which does not change how we dial keeps them open. Opens
 * nothing before the first call. Whoever makes or retains them releases them once; the last one closes them.
 */
export class SharedConnections {
  readonly egress: Egress;
  readonly dispatcher: UpstreamDispatcher;
  /** Their gates, and those of earlier connections: calls at all of them have the connections together. */
  readonly gates: GatesByOrigin;
  /** What `post` goes by; made when it is first used. */
  #aside: Agent | null = null;
  #users = 1;

  /** Calls that find no connection free count against `capacity` while they wait. */
  constructor(
    settings: ConnectionSettings,
    { env, clock, random, log, onSent }: ConnectionsDeps,
    capacity: QueueCapacity,
    gates: GatesByOrigin = new Map(),
  ) {
    const { proxy, tls, timeouts, rateLimit } = settings;
    this.gates = gates;
    this.egress = new Egress({ proxy, tls, timeouts, env, clock, log });
    this.dispatcher = new UpstreamDispatcher({
      connect: this.egress.connect,
      trusted: this.egress.trusted,
      warm: warmSettings(settings),
      headersMs: timeouts.headersMs,
      bodyMs: timeouts.bodyMs,
      onSent,
      connections: rateLimit.connections,
      gates,
      capacity,
      clock,
      random,
      onChange: (origin, state) =>
        (state === 'open' ? log.warn : log.info).call(log, { origin, state }, 'upstream reachability'),
    });
  }

  /** Sends what is neither a call nor a login. */
  readonly post: HttpPost = (request) => {
    this.#aside ??= new Agent({ connect: this.egress.connectAside, allowH2: false, connections: 1 });
    return createPost(this.#aside)(request);
  };

  /** One more user. */
  retain(): this {
    this.#users += 1;
    return this;
  }

  /** One user less; the last one's resolves when what still runs has ended and the connections are closed. */
  async release(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    await this.dispatcher.close();
    // What is sent aside may be held by the other side for long, and nobody waits for it any more.
    await this.#aside?.destroy();
    this.egress.close();
  }

  /** Closes them at once, whoever uses them. */
  async destroy(): Promise<void> {
    this.egress.close();
    await this.#aside?.destroy();
    await this.dispatcher.destroy();
  }
}

/** A `TokenTransport` whose body may be octets. */
export type HttpPost = (
  request: Omit<Parameters<TokenTransport>[0], 'body'> & { readonly body: string | Uint8Array },
) => ReturnType<TokenTransport>;

/**
 * The transport of token requests, and the like, over `agent`. It follows no redirect, rejects with a GatewayError of
 * the upstream or proxy group, and reads no more than it was told to.
 */
export function createPost(agent: Dispatcher): HttpPost {
  return async ({ url, headers, body, timeoutMs, maxBodyBytes }) => {
    const { origin, pathname, search } = new URL(url);
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const response = await agent.request({
        origin,
        path: pathname + search,
        method: 'POST',
        headers: [...headers],
        body,
        signal,
      });
      const received: Record<string, string | undefined> = {};
      for (const [name, value] of Object.entries(response.headers))
        received[name] = Array.isArray(value) ? value.join(', ') : value;
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        // Leaving the loop destroys the body, and the connection with it.
        if (size > maxBodyBytes)
          throw new GatewayError('gateway.upstream.invalid', `the answer is larger than ${maxBodyBytes} bytes`);
        chunks.push(chunk);
      }
      return { statusCode: response.statusCode, headers: received, body: Buffer.concat(chunks) };
    } catch (error) {
      if (signal.aborted)
        throw new GatewayError('gateway.upstream.timeout', `${origin} did not answer within ${timeoutMs / 1000} s`);
      throw toGatewayError(error, origin);
    }
  };
}
