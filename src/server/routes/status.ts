// What the gateway says about itself: one document, for GET /-/status, for the page, and for `gcg status`. It holds no
// secret; a token is a fingerprint.

import type { ChainHead } from '../../audit/audit-chain.ts';
import type { AuditTrail } from '../../audit/audit-trail.ts';
import { ANONYMOUS } from '../../auth/callers/caller.ts';
import type { Credential } from '../../auth/credentials/credentials.ts';
import type { TokenPool } from '../../auth/credentials/token-pool.ts';
import {
  type CredentialState,
  type RenewalState,
  type TokenState,
  withoutToken,
} from '../../auth/credentials/token-source.ts';
import { type CertificateExpiry, type CertificateFile, expiryWarning } from '../../config/certificates.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import type { ReloadReport } from '../../reload/reloader.ts';
import type { SpansState } from '../../tracing/spans.ts';
import { credentialOfLimit } from '../../upstream/call.ts';
import type { Identity } from '../../upstream/own-calls.ts';
import type { LimitState } from '../../upstream/rate-limit/limits.ts';
import type { TokenLimitState } from '../../upstream/rate-limit/window-pool.ts';
import { VERSION } from '../../version.ts';
import type { ServerContext, ServerRuntime } from '../context.ts';
import { isAnonymousServed } from '../listener-plan.ts';
import type { RefusalStatus } from '../refusals.ts';
import { type AccountChannels, MOST_OF_ACCOUNT } from '../websocket/channels.ts';
import { type AnonymousStatus, anonymousStatus, type ClientStatus, clientStatuses } from './client-status.ts';
import { type InspectorStatus, inspectorStatus } from './inspector/inspector-status.ts';
import { type StoreStatus, storeStatus } from './store-status.ts';

/** One of several tokens of a credential. Times are ISO 8601 in UTC, or null. */
export interface TokenStatus {
  /** From 1 on. Notification channels are bound to the first. */
  readonly number: number;
  readonly token: TokenState;
  readonly renewal: RenewalState;
  readonly expiresAt: string | null;
  readonly secondsLeft: number | null;
  readonly fingerprint: string | null;
  readonly nextAttemptAt: string | null;
  readonly lastError: CredentialStatus['lastError'];
  /** The limit of this token; null while none is known. */
  readonly perMinute: number | null;
  /** Calls of the last minute. */
  readonly used: number;
  /** Milliseconds until calls go on with it, 0 when they are not paused. */
  readonly pausedMs: number;
}

/** The state of one credential. Times are ISO 8601 in UTC, or null. */
export interface CredentialStatus {
  readonly name: string;
  readonly grantType: string;
  readonly isDefault: boolean;
  readonly required: boolean;
  /** Of the token that calls go up with; what follows is the first token's where there are several. */
  readonly token: TokenState;
  readonly renewal: RenewalState;
  readonly expiresAt: string | null;
  readonly secondsLeft: number | null;
  readonly fingerprint: string | null;
  readonly nextAttemptAt: string | null;
  readonly lastError: { readonly code: string; readonly message: string; readonly at: string } | null;
  readonly renewals: number;
  readonly failures: number;
  readonly storeError: string | null;
  /** The instance that obtained the token; null while that is not known, absent where instances share none. */
  readonly renewedBy?: string | null;
  /** The instance that holds the lock of its tokens, as far as this one knows; absent where they share none. */
  readonly lockHeldBy?: string | null;
  /** The most tokens that it may have. */
  readonly maxTokens: number;
  /** Those that it has, by number; null where it may have one only. */
  readonly tokens: readonly TokenStatus[] | null;
  /** Null for a grant in which nobody logs in. */
  readonly login: {
    readonly completedAt: string | null;
    readonly lastError: { readonly message: string; readonly at: string } | null;
  } | null;
  readonly upstream: { readonly region: string; readonly api: string; readonly login: string };
  /** What paths of calls with it begin with, before `/api/v2/`: nothing where it is the default of all who may. */
  readonly basePath: string;
  /** Who may use it. */
  readonly usableBy: { readonly anonymous: boolean; readonly clients: readonly string[] };
  /** Whose the token is, as the platform said at `learntAt`; null while that is not known, absent where nobody asks. */
  readonly identity?: (Identity & { readonly learntAt: string }) | null;
  /** Why it is not known, or not wholly; null where nothing is wrong. */
  readonly identityProblem?: string | null;
}

/** A file of certificates, and when the first of them ends that counts. */
export interface CertificateStatus extends CertificateFile {
  readonly subject: string;
  readonly expiresAt: string;
  readonly secondsLeft: number;
  /** What to do; null while there is time. */
  readonly warning: string | null;
}

/** The status document. */
export interface StatusDocument {
  readonly status: 'ready' | 'waiting' | 'draining';
  readonly version: string;
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly upstream: CredentialStatus['upstream'];
  readonly credentials: readonly CredentialStatus[];
  readonly clients: readonly ClientStatus[];
  /** Callers who are no client. */
  readonly anonymous: AnonymousStatus;
  /** Whether nobody may change anything. */
  readonly readOnly: boolean;
  /** At most 200: those of configured credentials and clients, then those that hold calls back, then the rest. */
  readonly limits: readonly LimitState[];
  readonly limitsInAll: number;
  /** Users and applications with notification channels made here, at most 100: those with most first. */
  readonly channels: readonly (AccountChannels & { readonly most: number })[];
  /** Of the listeners, of callers' and of the upstream's CAs, and ours for the upstream. */
  readonly certificates: readonly CertificateStatus[];
  /** What the platform refused of late for want of a permission or a person: at most 20, the last first. */
  readonly refusals: readonly RefusalStatus[];
  readonly store: StoreStatus;
  /** The audit trail; null without one. `lost`: calls whose line could not be kept. */
  readonly audit: { readonly failure: string | null; readonly lost: number; readonly head: ChainHead } | null;
  /** The export of spans; null without one. Spans are counted since the start. */
  readonly tracing: TracingStatus | null;
  /** What can be looked at; null where that is switched off. */
  readonly inspector: InspectorStatus | null;
  /** Files the configuration was read from. */
  readonly configuration: { readonly files: readonly string[] };
  /** How the last reload went; absent where there are none. */
  readonly reload?: { readonly last: (Omit<ReloadReport, 'at'> & { readonly at: string }) | null };
  readonly [more: string]: unknown;
}

/** The export of spans in the status. */
export type TracingStatus = Omit<SpansState, 'lastFailure'> & {
  readonly lastFailure: { readonly reason: string; readonly at: string } | null;
};

/** Whether calls would be served: `waiting` for the token of a required credential, or `draining`. */
export function readinessOf(
  phase: ServerContext['phase'],
  credentials: readonly Pick<CredentialStatus, 'required' | 'token'>[],
): StatusDocument['status'] {
  if (phase !== 'running') return 'draining';
  return withoutToken(credentials).length > 0 ? 'waiting' : 'ready';
}

/** The state of a gateway as it is now. It asks nothing of the network or the disk. */
export function statusOf(gateway: ServerContext): StatusDocument {
  const { runtime, startedAt, clock, phase, program } = gateway;
  const { config } = runtime;
  const credentials = runtime.credentials.list().map((credential) => credentialStatus(credential, gateway));
  const storeError = credentials.find((credential) => credential.storeError !== null)?.storeError ?? null;
  return {
    status: readinessOf(phase, credentials),
    version: VERSION,
    startedAt: iso(startedAt),
    uptimeSeconds: Math.max(0, Math.floor((clock.now() - startedAt) / 1000)),
    upstream: upstreamOf(config.general.hosts),
    credentials,
    clients: clientStatuses(gateway),
    anonymous: anonymousStatus(gateway),
    readOnly: config.server.readOnly,
    ...limitsOf(runtime.upstream.limits()),
    channels: gateway.runtime.channels
      .accounts()
      .slice(0, MOST_ACCOUNTS)
      .map((account) => ({ ...account, most: MOST_OF_ACCOUNT })),
    certificates: gateway.expiries.certificates().map((expiry) => certificateStatus(expiry, clock.now())),
    refusals: gateway.refusals.list(),
    store: storeStatus(gateway, storeError),
    audit: gateway.auditTrail && auditStatus(gateway.auditTrail),
    tracing: tracingStatus(gateway.spans.state()),
    inspector: inspectorStatus(gateway),
    configuration: { files: config.files },
    ...program.status?.(),
  };
}

function tracingStatus(state: SpansState | null): TracingStatus | null {
  if (state === null) return null;
  const { lastFailure } = state;
  return { ...state, lastFailure: lastFailure && { reason: lastFailure.reason, at: iso(lastFailure.at) } };
}

function auditStatus({ failure, lost, head }: AuditTrail): StatusDocument['audit'] {
  return { failure, lost, head };
}

function certificateStatus({ use, file, subject, expiresAt }: CertificateExpiry, now: number): CertificateStatus {
  const secondsLeft = Math.floor((expiresAt - now) / 1000);
  const warning = expiryWarning({ subject, expiresAt }, file, now);
  return { use, file, subject, expiresAt: iso(expiresAt), secondsLeft, warning };
}

const MOST_LIMITS = 200;
const MOST_ACCOUNTS = 100;

/** Each session has a limit of its own, and there may be thousands. */
function limitsOf(all: readonly LimitState[]): Pick<StatusDocument, 'limits' | 'limitsInAll'> {
  const rank = ({ credential, routes, waiting, pausedMs }: LimitState) => {
    if (routes === null && (credential === null || credentialOfLimit(credential) === credential)) return 0;
    return waiting > 0 || pausedMs > 0 ? 1 : 2;
  };
  const limits = all.length <= MOST_LIMITS ? all : all.toSorted((a, b) => rank(a) - rank(b)).slice(0, MOST_LIMITS);
  return { limits, limitsInAll: all.length };
}

/** The state of one credential, also as the response to a change of it. */
export function credentialStatus(
  credential: Credential,
  { logins, clock, identities, runtime }: Pick<ServerContext, 'logins' | 'clock' | 'identities' | 'runtime'>,
): CredentialStatus {
  const { config, source, pool, hasLogin } = credential;
  const { name, grantType, isDefault, isRequired, hosts } = config;
  const state = source.state();
  const { renewal, renewals, failures, storeError = null } = state;
  const { identity, learntAt, problem: identityProblem } = identities.of(credential);
  const completedAt = logins.completedAt(name);
  const loginError = logins.lastError(name);
  return {
    name,
    grantType,
    isDefault,
    required: isRequired,
    token: credential.tokenState(),
    renewal,
    ...timesOf(state, clock.now()),
    renewals,
    failures,
    storeError,
    ...credential.peers(),
    maxTokens: pool?.max ?? 1,
    tokens: pool && tokenStatuses(pool, runtime.upstream.tokenLimits(name) ?? [], clock.now()),
    login: hasLogin
      ? {
          completedAt: completedAt === null ? null : iso(completedAt),
          lastError: loginError && { message: loginError.message, at: iso(loginError.at) },
        }
      : null,
    upstream: upstreamOf(hosts),
    ...usersOf(name, runtime),
    ...(identities.isEnabled && {
      identity: identity && learntAt !== null ? { ...identity, learntAt: iso(learntAt) } : null,
      identityProblem,
    }),
  };
}

function tokenStatuses(pool: TokenPool, limits: readonly TokenLimitState[], now: number): TokenStatus[] {
  return pool.states().map(({ number, token, renewal, ...state }) => {
    const { perMinute = null, used = 0, pausedMs = 0 } = limits[number - 1] ?? {};
    return { number, token, renewal, ...timesOf(state, now), perMinute, used, pausedMs };
  });
}

type TimedState = Pick<CredentialState, 'expiresAt' | 'fingerprint' | 'nextAttemptAt' | 'lastError'>;

function timesOf({ expiresAt, fingerprint, nextAttemptAt, lastError }: TimedState, now: number) {
  return {
    expiresAt: expiresAt === null ? null : iso(expiresAt),
    secondsLeft: expiresAt === null ? null : Math.max(0, Math.floor((expiresAt - now) / 1000)),
    fingerprint,
    nextAttemptAt: nextAttemptAt === null ? null : iso(nextAttemptAt),
    lastError: lastError && { ...lastError, at: iso(lastError.at) },
  };
}

/** Who may use a credential, and by which path. */
function usersOf(
  name: string,
  { config, access, clients }: ServerRuntime,
): Pick<CredentialStatus, 'basePath' | 'usableBy'> {
  const all = config.clients.flatMap((client) => clients.get(client.name) ?? []);
  const callers = [...(isAnonymousServed(config) ? [ANONYMOUS] : []), ...all].filter((one) => access.mayUse(one, name));
  const names = callers.flatMap(({ client }) => client?.name ?? []);
  return {
    basePath: callers.every((caller) => access.defaultFor(caller) === name) && callers.length > 0 ? '' : `/${name}`,
    usableBy: { anonymous: names.length < callers.length, clients: names },
  };
}

function upstreamOf({ domain, api, login }: GatewayConfig['general']['hosts']): CredentialStatus['upstream'] {
  return { region: domain, api: `${api.origin}${api.pathPrefix}`, login: `${login.origin}${login.pathPrefix}` };
}

/** A time beyond what a date can hold is shown as the last one it can. */
function iso(at: number): string {
  return new Date(Math.min(at, 8.64e15)).toISOString();
}
