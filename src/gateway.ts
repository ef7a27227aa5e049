// The gateway as a whole: a runtime behind an app behind listeners, and its life from start to drained. Handles no
// signals and never exits.

import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { Agent } from 'undici';
import { AuthThrottle } from './auth/callers/auth-throttle.ts';
import { createHandles, deriveAnonymousKey } from './auth/callers/handles.ts';
import { type SessionOwner, sessionEnded } from './auth/callers/session.ts';
import { type SessionLimits, Sessions } from './auth/callers/sessions.ts';
import { createLogins } from './auth/credentials/login.ts';
import { FileStore } from './auth/credentials/store/file.ts';
import { createMemoryStore } from './auth/credentials/store/memory.ts';
import type { RenewalState, TokenState } from './auth/credentials/token-source.ts';
import { type Clock, systemClock } from './clock.ts';
import { ExposureError, exposedSetting, exposures, type PlacedListener } from './config/access-rules.ts';
import { secretSettings } from './config/compare.ts';
import { defaultCredential, type GatewayConfig, type ListenAddress } from './config/gateway-config.ts';
import { formatListenAddress, isLocalAddress, isReachable } from './config/listen-address.ts';
import { withDeadline } from './deadline.ts';
import { GatewayError } from './errors.ts';
import type { ExchangeRecord } from './logging/exchange-record.ts';
import type { Log } from './logging/log.ts';
import {
  createExchangeObserver,
  createMetrics,
  type ExchangeObserver,
  type Metrics,
} from './logging/metrics/metrics.ts';
import type { LiveSecrets } from './logging/redact/live-secrets.ts';
import { countTokenRequests, countTransitions, nameRuntime, observeRuntime } from './metric-sources.ts';
import { createRuntime, type Runtime, type RuntimeDeps } from './runtime.ts';
import { createAccept } from './server/accept.ts';
import { createApp } from './server/app.ts';
import { type ListenerSpec, type Listeners, openListeners } from './server/listeners.ts';
import { GrantPace } from './server/oauth/grant-pace.ts';
import { registerFacade } from './server/oauth/routes.ts';
import { registerAdmin } from './server/routes/admin.ts';
import { createAdminGuard } from './server/routes/admin-guard.ts';
import { registerMetrics } from './server/routes/metrics.ts';
import { type ReloadRoute, registerReload } from './server/routes/reload.ts';
import { createServerTls, type ServerTls } from './server/tls.ts';
import { createChannelRegister } from './server/websocket/channels.ts';
import { createOpenSockets, type OpenSockets } from './server/websocket/open-sockets.ts';
import { createUpgrade, whyNotServed } from './server/websocket/upgrade.ts';
import { VERSION } from './version.ts';

/** The log a gateway writes to. */
export interface GatewayLog extends Log {
  /** Writes the record of a finished exchange. */
  exchange(record: ExchangeRecord): void;
}

/** What a gateway is given from outside; everything but the log has a default. */
export interface GatewayOptions {
  readonly log: GatewayLog;
  readonly env?: NodeJS.ProcessEnv;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Default: metrics of its own, served as any others. */
  readonly metrics?: Metrics;
  /** The log's, so that it can mask the values in use. */
  readonly liveSecrets?: LiveSecrets;
  /**
   * How many sessions of applications' own users there may be, and how long one may be idle. Default: 10,000, and a
   * week.
   */
  readonly sessionLimits?: SessionLimits;
  /** How many notification sockets are carried at a time. Default: 2,000. */
  readonly maxSockets?: number;
  /** Told when somebody asked the gateway to end (POST /-/quit). Default: it drains by itself. */
  readonly onQuit?: () => void;
  /** Reads the configuration again and calls `replace` (POST /-/reload). Default: the request is refused. */
  readonly reload?: NonNullable<ReloadRoute['reload']>;
  /**
   * Further routes of the embedding program, registered last. They are behind the same door as all others: Host,
   * Origin, clients.
   */
  readonly plugins?: readonly ((app: FastifyInstance) => void)[];
  /** Further members of the status document. */
  readonly status?: () => Readonly<Record<string, unknown>>;
}

/**
 * Builds a gateway from a validated configuration. Throws StoreError when the folder of a file store cannot be used.
 */
export function createGateway(config: GatewayConfig, options: GatewayOptions): Promise<Gateway> {
  return Gateway.create(config, options);
}

/**
 * A gateway: listeners, the runtime of the configuration in use, and what outlives it. Made by `createGateway`, ended
 * by `drain`.
 */
export class Gateway {
  /** The configuration it was started with: listeners, store and TLS stay as it says. */
  readonly #started: GatewayConfig;
  readonly #options: GatewayOptions;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #observer: ExchangeObserver;
  readonly #openSockets: OpenSockets;
  readonly #tls: ServerTls | null;
  readonly #listening: readonly PlannedListener[];
  readonly #throttle: AuthThrottle;
  readonly #startedAt: number;
  /** Of earlier configurations, with calls that still run. */
  readonly #retiring = new Set<Runtime>();
  #sessions!: Sessions;
  #runtimeDeps!: RuntimeDeps;
  #runtime!: Runtime;
  #app!: FastifyInstance;
  #listeners: Listeners | null = null;
  /** `leaving`: not ready any more, and serving still; `draining`: new calls are refused. */
  #phase: 'running' | 'leaving' | 'draining' = 'running';
  #drained: Promise<void> | null = null;

  private constructor(config: GatewayConfig, options: GatewayOptions) {
    const { log, clock = systemClock } = options;
    this.#started = config;
    this.#options = options;
    this.#clock = clock;
    this.#metrics = options.metrics ?? createMetrics({ version: VERSION, now: clock.now });
    this.#observer = createExchangeObserver({ log, metrics: this.#metrics });
    this.#openSockets = createOpenSockets({
      clock,
      max: options.maxSockets,
      whyEnded: ({ caller, arrival }) => this.#runtime.authenticator.revalidate(caller, arrival),
    });
    this.#tls = config.server.tls === null ? null : createServerTls(config.server.tls, log);
    this.#listening = planListeners(config);
    this.#throttle = new AuthThrottle(clock);
    this.#startedAt = clock.now();
  }

  /** Reads what is stored and builds the first runtime; opens nothing. */
  static async create(config: GatewayConfig, options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(config, options);
    await gateway.#restore();
    gateway.#app = await gateway.#createApp();
    return gateway;
  }

  /**
   * The Fastify instance, ready: it does not listen by itself, and takes no more routes (see `GatewayOptions.plugins`).
   */
  get app(): FastifyInstance {
    return this.#app;
  }

  /** The parts of the configuration in use. */
  runtime(): Runtime {
    return this.#runtime;
  }

  /** Notification sockets that are open, or about to be. */
  socketCount(): number {
    return this.#openSockets.count;
  }

  /**
   * Opens the listeners and begins to obtain tokens. Rejects with the system's error when an address cannot be had,
   * with an ExposureError when others could reach it and would not have to prove anything; nothing is left open then.
   */
  async listen(): Promise<readonly string[]> {
    const options = {
      runtime: () => this.#runtime,
      throttle: this.#throttle,
      isDraining: () => this.#phase === 'draining',
      begun: this.#observer.begun,
      finish: this.#observer.ended,
    };
    const accept = createAccept({ ...options, route: this.#app.routing });
    const upgrade = createUpgrade({ ...options, live: this.#openSockets, clock: this.#clock });
    const specs = this.#listening.map((planned): ListenerSpec => {
      const { address, role } = planned;
      // Probes of health alone come without certificates and see no secret.
      const tls = role.data || role.admin ? this.#tls : null;
      return {
        address,
        handler: accept(role),
        onUpgrade: upgrade(role),
        tls,
        onBound: (bound) => settleRole(planned, bound, this.#started),
      };
    });
    this.#listeners = await openListeners(specs, this.#started.server);
    this.#runtime.credentials.start();
    warnOfAnonymousUse(this.#started, this.#listening, this.#listeners.addresses, this.#options.log);
    return this.#listeners.addresses;
  }

  /**
   * Serves new calls by another configuration from now on; calls that run end by the one they began with. Listeners and
   * store stay as they are. Throws when it cannot, and has changed nothing then: an ExposureError where others reach a
   * listener and would not have to prove anything any more. `unsafe_allow_anonymous` counts when it was set from the
   * start.
   */
  replace(wanted: GatewayConfig): void {
    if (this.#phase !== 'running') throw draining();
    const next = withRiskTaken(this.#started, wanted);
    const served = { clients: next.clients, server: { ...next.server, tls: this.#started.server.tls } };
    const refused = exposures(this.#listening.map(placed), served).find(({ isRefused }) => isRefused);
    if (refused !== undefined) throw new ExposureError(`${exposedSetting(refused)}: ${refused.atReload}`);
    const before = this.#runtime;
    const runtime = createRuntime(next, this.#runtimeDeps, before);
    this.#runtime = runtime;
    this.#options.liveSecrets?.configure(secretSettings(next).values());
    nameRuntime(this.#metrics, runtime);
    this.#sessions.reconsider();
    if (this.#listeners !== null) runtime.credentials.start();
    this.#openSockets.review((listener) => whyNotServed(runtime, listener));
    if (this.#listeners !== null && !isAnonymousServed(before.config)) {
      warnOfAnonymousUse(next, this.#listening, this.#listeners.addresses, this.#options.log);
    }
    this.#retiring.add(before);
    const forget = () => void this.#retiring.delete(before);
    before.retire(runtime).then(forget, forget);
  }

  /** Not ready at once, refusing after `shutdown_delay`, gone within `drain_timeout` more. Safe to repeat. */
  drain(): Promise<void> {
    this.#drained ??= this.#close();
    return this.#drained;
  }

  async #restore(): Promise<void> {
    const config = this.#started;
    const clock = this.#clock;
    const { log, env = process.env, random = Math.random, liveSecrets } = this.#options;
    liveSecrets?.configure(secretSettings(config).values());
    const store =
      config.store.type === 'file' ? new FileStore({ ...config.store, clock, log }) : createMemoryStore({ clock });
    // A folder that cannot be used is found now, and not when the first person has logged in.
    await store.list();
    const onEnded = (owner: SessionOwner | string) => this.#openSockets.end(owner, sessionEnded());
    const handles = await createHandles({
      store,
      clock,
      log,
      onEnded,
      anonymousKey: deriveAnonymousKey(defaultCredential(config)),
    });
    const sessions = new Sessions({
      store,
      clock,
      random,
      log,
      onEnded,
      ...(this.#options.sessionLimits && { limits: this.#options.sessionLimits }),
      endpoint: () => this.#runtime.facade.endpoint,
      settings: () => this.#runtime.config.reauthentication,
      credential: (name) => this.#runtime.facade.credential(name),
    });
    const listening = this.#listening;
    this.#sessions = sessions;
    this.#runtimeDeps = {
      env,
      clock,
      random,
      log,
      store,
      handles,
      sessions,
      channels: createChannelRegister({ clock }),
      clientCas: this.#tls?.clientCas ?? null,
      exposure: {
        get isReachable() {
          return listening.map(placed).some(({ isReachable, data, admin }) => isReachable && (data || admin));
        },
      },
      onTokenRequest: countTokenRequests(this.#metrics),
      onTransition: countTransitions(this.#metrics),
      ...(liveSecrets && { onSecret: liveSecrets.add }),
      transport: (request) => this.#runtime.upstream.transport(request),
    };
    this.#runtime = createRuntime(config, this.#runtimeDeps);
    observeRuntime(this.#metrics, () => this.#runtime);
    this.#metrics.setSources({
      sockets: () =>
        Array.from(this.#openSockets.listeners(), ({ caller, credential }) => ({
          client: caller.client?.name ?? null,
          credential,
        })),
    });
    await sessions.restore();
  }

  #createApp(): Promise<FastifyInstance> {
    const { log, plugins = [], status, reload, onQuit } = this.#options;
    const authenticator = () => this.#runtime.authenticator;
    const guard = createAdminGuard(authenticator);
    const isDraining = () => this.#phase !== 'running';
    return createApp({
      finish: this.#observer.ended,
      // Not a runtime's: the first one would never be let go of.
      agent: new Agent(),
      log,
      authenticator,
      plugins: [
        (fastify) =>
          registerFacade(fastify, {
            throttle: this.#throttle,
            pace: new GrantPace(this.#clock),
            runtime: () => this.#runtime,
          }),
        (fastify) =>
          registerAdmin(fastify, {
            guard,
            logins: createLogins({ clock: this.#clock, log, current: (name) => this.#runtime.credentials.get(name) }),
            now: this.#clock.now,
            startedAt: this.#startedAt,
            parts: () => this.#runtime,
            isDraining,
            quit: onQuit ?? (() => void this.drain()),
            ...(status && { more: status }),
          }),
        (fastify) => registerMetrics(fastify, { metrics: this.#metrics, authenticator }),
        (fastify) => registerReload(fastify, { guard, reload }),
        ...plugins,
      ],
      health: {
        isDraining,
        boundary: () => this.#runtime.boundary,
        credentials: () =>
          this.#runtime.credentials
            .list()
            .map(({ config: { name, isRequired }, source }) => ({ name, isRequired, ...pick(source.state()) })),
      },
    });
  }

  async #close(): Promise<void> {
    this.#phase = 'leaving';
    const { shutdownDelayMs, drainTimeoutMs } = this.#runtime.config.server;
    if (shutdownDelayMs > 0) await new Promise<void>((resolve) => void setTimeout(resolve, shutdownDelayMs));
    this.#phase = 'draining';
    const endsAt = performance.now() + drainTimeoutMs;
    const runtimes = [this.#runtime, ...this.#retiring];
    const stopWaits = onceNearlyOver(drainTimeoutMs, () => {
      for (const each of runtimes) each.rejectWaits(draining());
    });
    await Promise.all([this.#listeners?.close(drainTimeoutMs), this.#openSockets.close(drainTimeoutMs)]);
    stopWaits();
    for (const { credentials } of runtimes) credentials.close();
    // A refresh token that the platform rotates now, and that nobody hears of, takes a person to replace.
    const renewals = Promise.all([
      this.#sessions.settled(),
      ...runtimes.map(({ credentials }) => credentials.settled()),
    ]);
    await withDeadline(systemClock, endsAt - performance.now(), () => new Error('drain_timeout'), renewals).catch(
      () => undefined,
    );
    this.#sessions.close();
    this.#tls?.close();
    await Promise.all(runtimes.map((each) => each.close()));
    await this.#app.close();
  }
}

/** Those who wait are told to go so long before `drain_timeout` cuts them, if it is no more than a tenth of it. */
const LAST_WORDS_MS = 500;
/** What begins to wait after that is told soon. */
const LOOK_AGAIN_MS = 50;

/** Calls `end` when all but the last of `ms` is over, and then again and again, until what it returns is called. */
function onceNearlyOver(ms: number, end: () => void): () => void {
  let timer: NodeJS.Timeout;
  const look = () => {
    end();
    timer = setTimeout(look, LOOK_AGAIN_MS);
  };
  timer = setTimeout(look, ms - Math.min(LAST_WORDS_MS, ms / 10));
  return () => clearTimeout(timer);
}

function draining(): GatewayError {
  return new GatewayError('gateway.draining', 'the gateway is shutting down: try again');
}

/**
 * A listener to be opened. Its role is told to whoever answers on it, and is known in full when the socket is bound.
 */
interface PlannedListener {
  readonly address: ListenAddress;
  readonly role: { data: boolean; admin: boolean; health: boolean; isLocal: boolean };
  /** Serves administration if nobody else can reach it, though nobody asked for that. */
  readonly isAdminByDefault: boolean;
  /** The address it is bound to; null for a Unix socket, and before. */
  boundTo: string | null;
  isBound: boolean;
}

/** Data, admin and health addresses; one that serves data and administration is opened once. */
function planListeners({
  server: { listen, adminListen, healthListen, isAdminListenSet },
}: GatewayConfig): PlannedListener[] {
  const planned = new Map<string, PlannedListener>();
  const add = (addresses: readonly ListenAddress[], purpose: 'data' | 'admin' | 'health') => {
    for (const address of addresses) {
      // Each port 0 is a port of its own; the loader has refused any other address that is to serve health and more.
      const key = `${purpose === 'health'} ${JSON.stringify(address)}`;
      const role = { data: false, admin: false, health: false, isLocal: false };
      const entry = planned.get(key) ?? {
        address,
        role,
        isAdminByDefault: isAdminListenSet === false,
        boundTo: null,
        isBound: false,
      };
      entry.role[purpose] = true;
      planned.set(key, entry);
    }
  };
  add(listen, 'data');
  add(adminListen, 'admin');
  add(healthListen, 'health');
  return [...planned.values()];
}

/**
 * Takes what a socket is really bound to into its role. Throws an ExposureError when others reach it and need not prove
 * who they are.
 */
function settleRole(planned: PlannedListener, bound: AddressInfo | string, config: GatewayConfig): void {
  const { role, address, isAdminByDefault } = planned;
  role.isLocal = isLocalAddress(bound);
  planned.isBound = true;
  if (address.kind !== 'unix' && typeof bound === 'object') planned.boundTo = `${bound.address} port ${bound.port}`;
  if (!role.isLocal && isAdminByDefault) role.admin = false;
  // What would be of no use harms nobody.
  const refused = exposures([placed(planned)], config).find(
    ({ isRefused, key }) => isRefused && key !== 'anonymous_credentials',
  );
  if (refused !== undefined) throw new ExposureError(`${exposedSetting(refused)}: ${refused.atStart}`);
}

function placed({ address, role: { data, admin, isLocal }, isBound, boundTo }: PlannedListener): PlacedListener {
  const isExpected = address.kind === 'tcp' && isReachable(address) === !isLocal;
  const name = formatListenAddress(address) + (boundTo === null || isExpected ? '' : ` (${boundTo})`);
  return { name, isReachable: isBound ? !isLocal : isReachable(address), data, admin };
}

/** A risk that was not taken at the start is not taken by a reload. */
function withRiskTaken({ server }: GatewayConfig, next: GatewayConfig): GatewayConfig {
  if (server.unsafeAllowAnonymous || !next.server.unsafeAllowAnonymous) return next;
  return { ...next, server: { ...next.server, unsafeAllowAnonymous: false } };
}

/** Whether callers without proof are served anywhere. */
function isAnonymousServed({ clients, server }: GatewayConfig): boolean {
  return server.anonymousCredentials !== null || (clients.length === 0 && server.tls?.clientCaFile == null);
}

/**
 * Whoever has an account on this machine reaches a loopback address; a Unix socket has its owner. Who asked for
 * anonymous use knows.
 */
function warnOfAnonymousUse(
  config: GatewayConfig,
  listening: readonly PlannedListener[],
  addresses: readonly string[],
  log: Log,
): void {
  if (!isAnonymousServed(config)) return;
  const { anonymousCredentials, unsafeAllowAnonymous } = config.server;
  const open = addresses.filter((_, at) => {
    const { address, role } = listening[at] as PlannedListener;
    return (
      (role.data || role.admin) &&
      (role.isLocal ? anonymousCredentials === null && address.kind !== 'unix' : unsafeAllowAnonymous)
    );
  });
  if (open.length === 0) return;
  const isWide = listening.some(({ role }) => !role.isLocal && (role.data || role.admin)) && unsafeAllowAnonymous;
  const advice = isWide
    ? 'everybody who reaches these addresses can use the credentials of this gateway: make a [client.NAME] with ' +
      '`gcg client add`'
    : 'every local user can use the credentials of this gateway: make a [client.NAME] with `gcg client add`, or ' +
      'listen on a Unix socket';
  log.warn({ addresses: open, advice }, 'anonymous callers are served');
}

function pick({ token, renewal }: { token: TokenState; renewal: RenewalState }) {
  return { token, renewal };
}
