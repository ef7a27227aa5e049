// What the gateway says about itself: one document, for GET /-/status, for the page, and for `gcg status`. It holds no
// secret; a token is a fingerprint.

import type { Credential } from '../../auth/credentials/credentials.ts';
import type { Logins } from '../../auth/credentials/login.ts';
import { isUsable, type RenewalState, type TokenState } from '../../auth/credentials/token-source.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { credentialOfLimit } from '../../upstream/call.ts';
import type { LimitState } from '../../upstream/rate-limit/limits.ts';
import { VERSION } from '../../version.ts';

/** The parts of the configuration at work that status and changes need. */
export interface AdminParts {
  readonly config: GatewayConfig;
  readonly credentials: { get(name: string): Credential | undefined; list(): readonly Credential[] };
  readonly upstream: { readonly limits: () => readonly LimitState[] };
}

/** One credential. Times are ISO 8601 in UTC, or null. */
export interface CredentialStatus {
  readonly name: string;
  readonly grantType: string;
  readonly isDefault: boolean;
  readonly required: boolean;
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
  /** Null for a grant in which nobody logs in. */
  readonly login: {
    readonly completedAt: string | null;
    readonly lastError: { readonly message: string; readonly at: string } | null;
  } | null;
  readonly upstream: { readonly region: string; readonly api: string; readonly login: string };
}

/** One attempt to take up a changed configuration. */
export interface ReloadStatus {
  readonly at: string;
  readonly applied: boolean;
  readonly problems: readonly string[];
}

/** The whole document. */
export interface StatusDocument {
  readonly status: 'ready' | 'waiting' | 'draining';
  readonly version: string;
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly upstream: CredentialStatus['upstream'];
  readonly credentials: readonly CredentialStatus[];
  /** At most 200: those of configured credentials and clients, then those that hold calls back, then the rest. */
  readonly limits: readonly LimitState[];
  readonly limitsInAll: number;
  readonly store: { readonly type: 'memory' | 'file'; readonly error: string | null };
  /** Files the configuration was read from. */
  readonly configuration: { readonly files: readonly string[] };
  /** How the last attempt to take up a changed configuration went; absent where none can be taken up. */
  readonly reload?: { readonly last: ReloadStatus | null };
  readonly [more: string]: unknown;
}

/** What the document is made from. */
export interface StatusDeps {
  readonly parts: () => AdminParts;
  readonly logins: Pick<Logins, 'lastError' | 'completedAt'>;
  readonly now: () => number;
  readonly startedAt: number;
  readonly isDraining: () => boolean;
  /** Further members, of other parts of the gateway. */
  readonly more?: () => Readonly<Record<string, unknown>>;
}

/** Makes the function that answers the present state. It asks nothing of the network or the disk. */
export function createStatus(deps: StatusDeps): () => StatusDocument {
  const { parts, now, startedAt } = deps;
  return () => {
    const { config, credentials, upstream } = parts();
    const list = credentials.list().map((credential) => credentialStatus(credential, deps));
    const isWaiting = list.some(({ required, token }) => required && !isUsable(token));
    return {
      status: deps.isDraining() ? 'draining' : isWaiting ? 'waiting' : 'ready',
      version: VERSION,
      startedAt: iso(startedAt),
      uptimeSeconds: Math.max(0, Math.floor((now() - startedAt) / 1000)),
      upstream: upstreamOf(config.general.hosts),
      credentials: list,
      ...limitsOf(upstream.limits()),
      store: { type: config.store.type, error: list.find(({ storeError }) => storeError !== null)?.storeError ?? null },
      configuration: { files: config.files },
      ...deps.more?.(),
    };
  };
}

const MOST_LIMITS = 200;

/** Each session has a limit of its own, and there may be thousands. */
function limitsOf(all: readonly LimitState[]): Pick<StatusDocument, 'limits' | 'limitsInAll'> {
  const rank = ({ credential, waiting, pausedMs }: LimitState) => {
    if (credential === null || credentialOfLimit(credential) === credential) return 0;
    return waiting > 0 || pausedMs > 0 ? 1 : 2;
  };
  const limits = all.length <= MOST_LIMITS ? all : all.toSorted((a, b) => rank(a) - rank(b)).slice(0, MOST_LIMITS);
  return { limits, limitsInAll: all.length };
}

/** One credential, also as the answer to a change of it. */
export function credentialStatus(
  { config, source, hasLogin }: Credential,
  { logins, now }: Pick<StatusDeps, 'logins' | 'now'>,
): CredentialStatus {
  const { name, grantType, isDefault, isRequired, hosts } = config;
  const {
    token,
    renewal,
    expiresAt,
    fingerprint,
    nextAttemptAt,
    lastError,
    renewals,
    failures,
    storeError = null,
  } = source.state();
  const completedAt = logins.completedAt(name);
  const loginError = logins.lastError(name);
  return {
    ...{ name, grantType, isDefault, required: isRequired, token, renewal },
    expiresAt: expiresAt === null ? null : iso(expiresAt),
    secondsLeft: expiresAt === null ? null : Math.max(0, Math.floor((expiresAt - now()) / 1000)),
    fingerprint,
    nextAttemptAt: nextAttemptAt === null ? null : iso(nextAttemptAt),
    lastError: lastError && { ...lastError, at: iso(lastError.at) },
    ...{ renewals, failures, storeError },
    login: hasLogin
      ? {
          completedAt: completedAt === null ? null : iso(completedAt),
          lastError: loginError && { message: loginError.message, at: iso(loginError.at) },
        }
      : null,
    upstream: upstreamOf(hosts),
  };
}

function upstreamOf({ domain, api, login }: GatewayConfig['general']['hosts']): CredentialStatus['upstream'] {
  return { region: domain, api: `${api.origin}${api.pathPrefix}`, login: `${login.origin}${login.pathPrefix}` };
}

/** A time beyond what a date can hold is shown as the last one it can. */
function iso(at: number): string {
  return new Date(Math.min(at, 8.64e15)).toISOString();
}
