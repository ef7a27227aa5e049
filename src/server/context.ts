// What the server works with: the running gateway, and the parts of one configuration. Declared here and built where
// all parts are known; an exchange knows both.

import type { FastifyInstance } from 'fastify';
import type { AuditTrail } from '../audit/audit-trail.ts';
import type { CallAudit } from '../audit/call-audit.ts';
import type { Access } from '../auth/callers/access.ts';
import type { GrantPace } from '../auth/callers/allowance.ts';
import type { AuthThrottle } from '../auth/callers/auth-throttle.ts';
import type { EarlierCaller } from '../auth/callers/caller.ts';
import type { ClientActivity } from '../auth/callers/client-activity.ts';
import type { ClientBlocks } from '../auth/callers/client-blocks.ts';
import type { Clients } from '../auth/callers/clients.ts';
import type { Handles } from '../auth/callers/handles.ts';
import type { PageKeys } from '../auth/callers/page-keys.ts';
import type { Sessions } from '../auth/callers/sessions.ts';
import type { Credentials } from '../auth/credentials/credentials.ts';
import type { Logins } from '../auth/credentials/login.ts';
import type { TokenStore } from '../auth/credentials/store/store.ts';
import type { TokenEndpoint } from '../auth/credentials/token-endpoint.ts';
import type { Clock } from '../clock.ts';
import type { CredentialConfig, GatewayConfig } from '../config/gateway-config.ts';
import type { Inspector } from '../inspector/inspector.ts';
import type { BodyLogging } from '../logging/body-capture.ts';
import type { ExchangeObserver } from '../logging/exchange-observer.ts';
import type { Log } from '../logging/log.ts';
import type { Metrics } from '../logging/metrics/metrics.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import type { RedisConnection } from '../redis/connection.ts';
import type { ReloadReport } from '../reload/reloader.ts';
import type { Spans } from '../tracing/spans.ts';
import type { CallWaits } from '../upstream/call.ts';
import type { Identities } from '../upstream/identities.ts';
import type { QuotaLedger } from '../upstream/rate-limit/quota-ledger.ts';
import type { ReplayBudget } from '../upstream/request-body.ts';
import type { Tracing } from '../upstream/tracing.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Budgets } from '../usage/budgets.ts';
import type { UsageLedger } from '../usage/usage-ledger.ts';
import type { AdmissionRules } from './admission.ts';
import type { ClientRules } from './authorize.ts';
import type { TrustedProxies } from './connection.ts';
import type { Expiries } from './expiries.ts';
import type { OwnHeaders } from './headers.ts';
import type { ListenerRole } from './listener-plan.ts';
import type { Refusals } from './refusals.ts';
import type { OpenSockets } from './websocket/open-sockets.ts';
import type { Channels } from './websocket/shared-channels.ts';

/** The running gateway: what outlives a configuration, and the configuration in use now. */
export interface ServerContext {
  /** The parts of the configuration in use now; an exchange keeps those it was accepted under. */
  readonly runtime: ServerRuntime;
  /** `leaving`: not ready any more, and serving still; `draining`: new calls are refused. */
  readonly phase: 'running' | 'leaving' | 'draining';
  /** The end has come: calls that still run are being cut. */
  readonly isCutting: boolean;
  /** The framework, whose `routing` takes admitted requests. */
  readonly app: FastifyInstance;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'render' | 'contentType' | 'samples'>;
  /** Told of each exchange that begins and ends. */
  readonly observer: ExchangeObserver;
  /** What can be looked at; null where that is switched off. */
  readonly inspector: Inspector | null;
  /** The values in use that nothing may show; absent where the log does not know them. */
  readonly liveSecrets: LiveSecrets | undefined;
  /** Where browsers find the live page; known once it listens. */
  readonly pages: readonly string[];
  /** Makes calls again that somebody looks at. */
  readonly replays: ReplaySender;
  /** The keys of the live page. */
  readonly pageKeys: PageKeys;
  /** Whether somebody watches where the time of calls goes. */
  readonly tracing: Tracing;
  /** Whether spans of calls are exported. */
  readonly spans: Pick<Spans, 'tracer' | 'state'>;
  /** The calls that the platform refused, explained. */
  readonly refusals: Refusals;
  readonly store: Pick<TokenStore, 'state'>;
  /** The connection to the store that instances share; null where each has its own. */
  readonly redis: Pick<RedisConnection, 'status' | 'instances' | 'instanceId' | 'time'> | null;
  /** The limits that instances share over it. */
  readonly quota: Pick<QuotaLedger, 'status'> | null;
  readonly throttle: AuthThrottle;
  /** What clients did since the start. */
  readonly activity: ClientActivity;
  /** The clients that an administrator has blocked. */
  readonly blocks: ClientBlocks;
  readonly grantPace: GrantPace;
  readonly openSockets: OpenSockets;
  /** Null where no file is configured. */
  readonly auditTrail: AuditTrail | null;
  /** How many calls were sent, by month. */
  readonly usage: UsageLedger;
  /** What ends by itself: certificates. */
  readonly expiries: Pick<Expiries, 'certificates'>;
  readonly logins: Logins;
  /** Whose the tokens of the credentials are. */
  readonly identities: Identities;
  /** Epoch ms. */
  readonly startedAt: number;
  /** What only the program can do that runs the gateway. */
  readonly program: ProgramHooks;
}

/** A call to be made again. */
export interface ReplayOrder {
  readonly method: string;
  /** With the query, octet for octet. */
  readonly target: string;
  /** Name, value, name, value; without Host and what frames the message. */
  readonly headers: readonly string[];
  readonly body: string | null;
  /** Who made it, and where it came in. */
  readonly caller: EarlierCaller;
  readonly role: ListenerRole;
  readonly peer: string | null;
  /** Request id of the call that is made again, and who asked for it. */
  readonly replayOf: string;
  readonly replayedBy: string;
}

/** Makes calls again, for each who asks one at a time. */
export interface ReplaySender {
  /** Throws gateway.inspector.busy where another one runs, or there were too many. Resolves with its request id when it was accepted. */
  start(order: ReplayOrder): Promise<string>;
}

/** The outcome of a reload that was asked for. */
export type ReloadOutcome = Pick<ReloadReport, 'applied' | 'changed' | 'restart' | 'problems'>;

/** What the program that runs the gateway adds to its admin routes. */
export interface ProgramHooks {
  /** Begins to drain, and ends the process where there is one to end. */
  quit(): void;
  /** Reads the configuration again and takes it into use. Absent where it did not come from files. */
  readonly reload?: (() => ReloadOutcome) | undefined;
  /** Further members of the status document. */
  readonly status?: (() => Readonly<Record<string, unknown>>) | undefined;
}

/** The parts of one configuration as the server sees them. A reload replaces them as a whole. */
export interface ServerRuntime extends AdmissionRules {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly trustedProxies: TrustedProxies;
  readonly clients: Clients;
  readonly access: Access;
  readonly rules: ClientRules;
  readonly credentials: Pick<Credentials, 'get' | 'list'>;
  /** The credential of a session or login that no configured one serves; only its hosts matter. */
  readonly placeholderCredential: CredentialConfig;
  /** Where grants of applications' own users are performed. */
  readonly tokenEndpoint: TokenEndpoint;
  readonly upstream: Pick<Upstream, 'send' | 'limits' | 'lines' | 'tokenLimits'> & {
    readonly egress: Pick<Upstream['egress'], 'agent' | 'describe'>;
    readonly dispatcher: Pick<Upstream['dispatcher'], 'connections' | 'origins'>;
  };
  /** The handles, sessions and notification channels that were issued, by this and earlier configurations. */
  readonly handles: Handles;
  readonly sessions: Sessions;
  readonly channels: Channels;
  /** What all calls together keep for replays, those of earlier configurations included. */
  readonly budget: ReplayBudget;
  readonly ownHeaders: OwnHeaders;
  /** What redirects to the upstream's own host lead through. */
  readonly redirectBase: string;
  /**
   * This gateway's mark on chained gateways, to know its own requests again; null when calls go straight to the region.
   */
  readonly instanceId: string | null;
  /** Bodies that go into the record; null: none. */
  readonly bodies: BodyLogging | null;
  /** The trail of changing calls; null: none. */
  readonly audit: CallAudit | null;
  /** What clients may spend of a month. */
  readonly budgets: Budgets;
  /** Calls that wait just now: for a connection, a limit, a token, another try. */
  readonly waits: CallWaits;
  /** A forwarded call begins here, and ends: while one runs, what it works with is not closed. */
  enter(): void;
  leave(): void;
}

/** The credential of a name, or for null the placeholder; undefined for a name there is not. */
export function credentialConfig(
  { credentials, placeholderCredential }: Pick<ServerRuntime, 'credentials' | 'placeholderCredential'>,
  name: string | null,
): CredentialConfig | undefined {
  return name === null ? placeholderCredential : credentials.get(name)?.config;
}
