// What a gateway has for as long as it lives, whatever configuration is in use: log, metrics, store, handles, sessions,
// sockets, the listening side's TLS; and which configuration that is.

import type { FastifyInstance } from 'fastify';
import { type AuditIo, nodeIo } from './audit/audit-io.ts';
import { AuditTrail } from './audit/audit-trail.ts';
import { GrantPace } from './auth/callers/allowance.ts';
import { AuthThrottle } from './auth/callers/auth-throttle.ts';
import { ClientActivity } from './auth/callers/client-activity.ts';
import { ClientBlocks } from './auth/callers/client-blocks.ts';
import { createHandles, deriveAnonymousKey, type Handles } from './auth/callers/handles.ts';
import { PageKeys } from './auth/callers/page-keys.ts';
import { type Session, sessionEnded } from './auth/callers/session.ts';
import type { SessionLimits } from './auth/callers/session-index.ts';
import { Sessions } from './auth/callers/sessions.ts';
import { createLogins, type Logins } from './auth/credentials/login.ts';
import { closeStore, type MadeStore, makeStore, openStore } from './auth/credentials/store/make-store.ts';
import type { TokenStore } from './auth/credentials/store/store.ts';
import type { TokenTransport } from './auth/credentials/token-endpoint.ts';
import type { Token } from './auth/credentials/token-source.ts';
import type { SharedParts } from './auth/shared-parts.ts';
import type { ClientCas } from './cert-subject.ts';
import { type Clock, systemClock } from './clock.ts';
import { defaultCredential, type GatewayConfig, secretSettings } from './config/gateway-config.ts';
import { Inspector } from './inspector/inspector.ts';
import { isInspectorOn } from './inspector/page-place.ts';
import { createExchangeObserver, type ExchangeObserver } from './logging/exchange-observer.ts';
import type { ExchangeRecord } from './logging/exchange-record.ts';
import type { Log } from './logging/log.ts';
import { createMetrics, type Metrics } from './logging/metrics/metrics.ts';
import type { LiveSecrets } from './logging/redact/live-secrets.ts';
import type { RedisConnection } from './redis/connection.ts';
import type { Runtime, Shared } from './runtime.ts';
import { credentialConfig, type ProgramHooks, type ServerContext } from './server/context.ts';
import { Expiries } from './server/expiries.ts';
import { ListenerPlan } from './server/listener-plan.ts';
import { Refusals } from './server/refusals.ts';
import { Replays } from './server/replays.ts';
import { createServerTls, type ServerTls } from './server/tls.ts';
import { ChannelRegister } from './server/websocket/channels.ts';
import { OpenSockets } from './server/websocket/open-sockets.ts';
import { Channels } from './server/websocket/shared-channels.ts';
import { WrongProtocols } from './server/wrong-protocol.ts';
import { Spans } from './tracing/spans.ts';
import { AskedLimits } from './upstream/asked-limits.ts';
import { sessionLimitKey } from './upstream/call.ts';
import { Identities } from './upstream/identities.ts';
import { askUserId, OwnCallError } from './upstream/own-calls.ts';
import type { QuotaLedger } from './upstream/rate-limit/quota-ledger.ts';
import { Tracing } from './upstream/tracing.ts';
import type { HttpPost } from './upstream/upstream.ts';
import { Budgets } from './usage/budgets.ts';
import { UsageLedger } from './usage/usage-ledger.ts';
import { VERSION } from './version.ts';

/** The log a gateway writes to. */
export interface GatewayLog extends Log {
  /** Writes the record of a finished exchange. May return its line: JSON, redacted, without headers and bodies. */
  exchange(record: ExchangeRecord): unknown;
}

/** What a gateway is given beside its configuration. */
export interface StateOptions {
  readonly log: GatewayLog;
  readonly env?: NodeJS.ProcessEnv;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Default: metrics of its own, served as any others. */
  readonly metrics?: Metrics;
  /** The log's, so that it can mask the values in use. */
  readonly liveSecrets?: LiveSecrets;
  /**
   * Whether it asks the platform once a token whose that is, for the status, and once a day what limits it has.
   * Default: false, no call is made that no caller asked for.
   */
  readonly identify?: boolean;
  /**
   * How many sessions of applications' own users there may be, and how long one may be idle. Default: 10,000, and a
   * week.
   */
  readonly sessionLimits?: SessionLimits;
  /** The disk under the audit trail. Default: the system's. */
  readonly auditIo?: AuditIo;
  /** How many notification sockets are carried at a time. Default: 2,000. */
  readonly maxSockets?: number;
}

/** The state of one gateway. Made by `GatewayState.create`; `use` gives it its first runtime. */
export class GatewayState implements ServerContext, Shared {
  /** The configuration it was started with: listeners, store and TLS stay as it says. */
  readonly started: GatewayConfig;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly observer: ExchangeObserver;
  readonly inspector: Inspector | null;
  readonly pageKeys: PageKeys;
  readonly replays: Replays;
  readonly liveSecrets: LiveSecrets | undefined;
  readonly store: TokenStore;
  /** The connection to the store that instances share; null where each has its own. */
  readonly redis: RedisConnection | null;
  /** The limits that instances share over it. */
  readonly quota: QuotaLedger | null;
  /** What instances share beside tokens and limits; null where each has its own. */
  readonly shared: SharedParts | null;
  readonly listenerPlan: ListenerPlan;
  readonly tls: ServerTls | null;
  readonly tracing: Tracing;
  readonly spans: Spans;
  readonly refusals: Refusals;
  readonly throttle: AuthThrottle;
  readonly grantPace: GrantPace;
  readonly wrongProtocols: WrongProtocols;
  readonly activity: ClientActivity;
  readonly blocks: ClientBlocks;
  readonly logins: Logins;
  readonly identities: Identities;
  readonly askedLimits: AskedLimits;
  readonly channels: Channels;
  readonly openSockets: OpenSockets;
  readonly expiries: Expiries;
  readonly startedAt: number;
  /** Null where no file is configured. */
  auditTrail: AuditTrail | null = null;
  usage!: UsageLedger;
  budgets!: Budgets;
  pages: readonly string[] = [];
  phase: ServerContext['phase'] = 'running';
  isCutting = false;
  /** Told of each change of state of a configured credential. */
  onTransition: () => void = () => {};
  program!: ProgramHooks;
  handles!: Handles;
  sessions!: Sessions;
  app!: FastifyInstance;
  #runtime!: Runtime;

  private constructor(
    config: GatewayConfig,
    options: StateOptions & { metrics: Metrics },
    { store, redis, quota, parts }: SharedStore,
  ) {
    const { log, env = process.env, clock = systemClock, random = Math.random } = options;
    this.started = config;
    this.env = env;
    this.clock = clock;
    this.random = random;
    this.log = log;
    this.metrics = options.metrics;
    this.activity = new ClientActivity(clock);
    this.tracing = new Tracing(clock.monotonic);
    this.inspector = isInspectorOn(config)
      ? new Inspector({
          memory: config.inspector.memory,
          clock,
          version: VERSION,
          log,
          watch: (calls) => this.tracing.watch(calls),
          mask: options.liveSecrets?.mask,
        })
      : null;
    this.spans = new Spans({
      clock,
      random,
      log,
      post: (request) => this.post(request),
      mask: options.liveSecrets?.mask,
    });
    this.pageKeys = new PageKeys(clock);
    this.replays = new Replays(this);
    this.observer = createExchangeObserver({
      log,
      metrics: this.metrics,
      activity: this.activity,
      inspector: this.inspector,
      spans: this.spans,
    });
    this.liveSecrets = options.liveSecrets;
    this.redis = redis;
    this.store = store;
    this.quota = quota;
    this.shared = parts;
    this.listenerPlan = new ListenerPlan(config);
    this.tls = config.server.tls === null ? null : createServerTls(config.server.tls, log);
    this.refusals = new Refusals(clock);
    this.throttle = new AuthThrottle(clock);
    this.grantPace = new GrantPace(clock);
    this.wrongProtocols = new WrongProtocols({ clock, log });
    const onBlockedElsewhere = (name: string) => this.#endAllOf(name);
    this.blocks = new ClientBlocks({ store: this.store, clock, log, onBlockedElsewhere });
    this.logins = createLogins({
      clock,
      log,
      current: (name) => this.runtime.credentials.get(name),
      ...(parts !== null && { records: parts.records }),
    });
    this.identities = new Identities({
      clock,
      log,
      credential: (name) => this.runtime.credentials.get(name),
      send: (request) => this.runtime.upstream.aside(request),
      isEnabled: options.identify === true,
      onOrganization: (name, id) => this.runtime.upstream.parts.limits.setOrganization(name, id),
      mask: options.liveSecrets?.mask,
    });
    this.askedLimits = new AskedLimits({ clock, log, inUse: () => this.runtime, isEnabled: options.identify === true });
    this.channels = new Channels({
      register: new ChannelRegister({ clock, log }),
      clock,
      records: parts?.records ?? null,
      mark: (owner) => this.handles.mark(owner),
    });
    redis?.onGap(() => void this.channels.tellAgain());
    this.openSockets = new OpenSockets({
      clock,
      max: options.maxSockets,
      revalidate: ({ caller, arrival, peer }) => this.runtime.authenticator.revalidate(caller, arrival, peer),
    });
    this.expiries = new Expiries({ clock, log, config: () => this.runtime.config });
    this.startedAt = clock.now();
  }

  /**
   * Opens the audit trail and the ledger of usage, and reads the handles that are stored. Throws StoreError when the
   * folder of a file store cannot be used, AuditError when the audit file cannot.
   */
  static async create(config: GatewayConfig, options: StateOptions): Promise<GatewayState> {
    const metrics = options.metrics ?? createMetrics({ version: VERSION, now: (options.clock ?? systemClock).now });
    const shared = await makeShared(config, { ...options, metrics });
    const state = new GatewayState(config, { ...options, metrics }, shared);
    state.liveSecrets?.configure(secretSettings(config).values());
    try {
      await state.#open(options);
    } catch (error) {
      await state.closeBooks();
      await state.closeStore();
      state.tls?.close();
      throw error;
    }
    return state;
  }

  async #open(options: StateOptions): Promise<void> {
    const { started: config, store, clock, random, log } = this;
    // What cannot be used is found now, and not when the first person has logged in.
    await openStore(this);
    await this.spans.use(config.tracing);
    this.quota?.start();
    await this.blocks.load();
    const { file, sync } = config.audit;
    const { auditIo: io = nodeIo } = options;
    if (file !== null) this.auditTrail = await AuditTrail.open({ file, sync, clock, log, io });
    const { type, path, prefix } = config.store;
    this.usage = await UsageLedger.open({ folder: type === 'file' ? path : null, prefix, clock, log });
    this.budgets = new Budgets({ ledger: this.usage, clock, log });
    const onEnded = (owner: string) => this.openSockets.closeOwned(owner, sessionEnded());
    const anonymousKey = deriveAnonymousKey(defaultCredential(config));
    this.handles = await createHandles({ store, clock, log, onEnded, anonymousKey });
    this.sessions = new Sessions({
      store,
      clock,
      random,
      log,
      onEnded: ({ hash }) => onEnded(hash),
      index: this.shared?.sessionIndex((owner) => this.handles.mark(owner)) ?? null,
      requestMs: () => this.runtime.config.timeouts.tokenMs,
      ...(options.sessionLimits && { limits: options.sessionLimits }),
      endpoint: () => this.runtime.tokenEndpoint,
      settings: () => this.runtime.config.reauthentication,
      credential: (name) => credentialConfig(this.runtime, name),
      ...(options.identify === true && { askUser: (session, token) => this.#askUser(session, token) }),
    });
  }

  /** Ends here what a client has open that another instance has blocked. */
  #endAllOf(name: string): void {
    if (this.#runtime === undefined) return;
    void this.sessions.endOf(name);
    this.openSockets.review(({ caller, arrival, peer }) =>
      caller.client?.name === name ? this.runtime.authenticator.revalidate(caller, arrival, peer) : null,
    );
    this.inspector?.feed.review();
  }

  async #askUser(session: Session, token: Token): Promise<string | null> {
    // Calls that wait for their turn go first.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const config = session.config();
    return askUserId({
      send: (request) => this.runtime.upstream.aside(request),
      credential: { config, source: session.source },
      token,
      limitKey: sessionLimitKey(config.name, session.id),
    }).catch((error: unknown) => {
      // The token of a service has no user, and a scope may not allow the question: asking again is of no use.
      if (error instanceof OwnCallError && [400, 403, 404].includes(error.upstreamStatus)) return null;
      throw error;
    });
  }

  /** The parts of the configuration in use now. */
  get runtime(): Runtime {
    return this.#runtime;
  }

  /** Takes the runtime of another configuration into use. */
  use(runtime: Runtime): void {
    this.#runtime = runtime;
    if (this.quota !== null) this.quota.isEnforced = runtime.config.rateLimit.mode === 'enforce';
    this.askedLimits.reconsider();
    this.spans.use(runtime.config.tracing).catch(() => this.log.error({}, 'spans cannot be exported'));
    const { clients, credentials } = runtime.config;
    this.budgets.keep(clients);
    this.inspector?.configure(runtime.config);
    this.liveSecrets?.configure(secretSettings(runtime.config).values());
    this.activity.setNames(clients.map(({ name }) => name));
    this.metrics.setNames({
      clients: clients.map(({ name }) => name),
      credentials: credentials.map(({ name }) => name),
    });
  }

  /** Writes what is left for the store, and lets go of it. To be called last: whoever ends may store something. */
  async closeStore(): Promise<void> {
    await this.quota?.close();
    await closeStore(this);
  }

  /** Writes what is left of usage and audit; the last line of the trail is made. */
  async closeBooks(): Promise<void> {
    await Promise.all([this.usage?.close(), this.auditTrail?.close()]);
  }

  /** Counts a request that goes to the platform; bound, to be handed on. */
  readonly onSent = (record: ExchangeRecord): void => {
    this.usage.count(record.client, record.credential ?? '', record.operation, this.clock.now());
    this.budgets.sent(record);
  };

  get clientCas(): ClientCas | null {
    return this.tls?.clientCas ?? null;
  }

  /** Bound, to be handed on. */
  readonly transport: TokenTransport = (request) => this.runtime.upstream.transport(request);

  /** As `transport`, for what is neither a call nor a login. */
  readonly post: HttpPost = (request) => this.runtime.upstream.post(request);
}

/** The store, and what instances have in common where they share it. */
interface SharedStore extends MadeStore {
  readonly quota: QuotaLedger | null;
  readonly parts: SharedParts | null;
}

/** Makes it, closed; the code of what is shared is loaded only where something is. */
async function makeShared(
  config: GatewayConfig,
  { clock = systemClock, random = Math.random, log, metrics }: StateOptions & { metrics: Metrics },
): Promise<SharedStore> {
  const onCommand = metrics.storeCommand.bind(metrics);
  const made = await makeStore(config.store, { clock, random, log, onCommand });
  if (made.redis === null || config.store.type !== 'redis') return { ...made, quota: null, parts: null };
  const { QuotaLedger } = await import('./upstream/rate-limit/quota-ledger.ts');
  const { createSharedParts } = await import('./auth/shared-parts.ts');
  const parts = createSharedParts(config.store, made.redis);
  return { ...made, quota: new QuotaLedger({ link: made.redis, clock }), parts };
}
