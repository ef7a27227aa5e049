// The configuration as the rest of the gateway sees it: typed, validated, complete. Made by `loadConfig`; never read
// from the environment elsewhere.

import type { SecretSource } from '../secret.ts';

/** The base of a group of URLs: `origin` (scheme, host, port) and a path prefix, `''` or `/like/this`. */
export interface UrlBase {
  readonly origin: string;
  readonly pathPrefix: string;
}

/** Where one credential's traffic goes: its region, or the `[gateway]` host that stands before it. */
export interface UpstreamHosts {
  /** The region's domain, `mypurecloud.de`; for messages and for `Host`-independent decisions. */
  readonly domain: string;
  readonly api: UrlBase;
  readonly login: UrlBase;
  /** `wss:` or `ws:` origin. */
  readonly streaming: UrlBase;
}

export type GrantType =
  | 'client_credentials'
  | 'authorization_code'
  | 'pkce'
  | 'saml2_bearer'
  | 'implicit'
  | 'access_token';

/** `[credential]` and `[credential.NAME]`. */
export interface CredentialConfig {
  readonly name: string;
  readonly grantType: GrantType;
  readonly clientId: string | null;
  readonly clientSecret: SecretSource | null;
  readonly orgName: string | null;
  readonly assertion: SecretSource | null;
  /** argv; empty when not set. */
  readonly assertionCommand: readonly string[];
  readonly accessToken: SecretSource | null;
  readonly refreshToken: SecretSource | null;
  readonly redirectUri: string | null;
  readonly scope: string | null;
  readonly org: string | null;
  readonly provider: string | null;
  readonly prompt: string | null;
  readonly target: string | null;
  readonly loginHint: string | null;
  readonly hosts: UpstreamHosts;
  readonly isDefault: boolean;
  readonly isRequired: boolean;
  /** `file:line` (or env NAME) where it is configured, for messages. */
  readonly location: string;
}

/** Where a listener listens. */
export type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'fd'; readonly fd: number };

export type LogLevel = 'none' | 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** `[client.NAME]`. */
export interface ClientConfig {
  readonly name: string;
  readonly secret: SecretSource | null;
  /** Lower-case hex SHA-256 of accepted secrets. */
  readonly secretSha256: readonly string[];
  readonly certSubject: string | null;
  /** Names of credentials it may use; the first is its default. Empty: the gateway's default credential. */
  readonly credentials: readonly string[];
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  readonly mode: 'enforce' | 'report';
  readonly isAdmin: boolean;
  readonly requestsPerMinute: number | null;
  readonly location: string;
}

/**
 * Everything the gateway needs to run. Durations in ms, sizes in bytes. Deeply readonly; replaced as a whole on reload.
 */
export interface GatewayConfig {
  /** Files that were read, for messages and the watcher. */
  readonly files: readonly string[];
  readonly general: { readonly hosts: UpstreamHosts; readonly liveReloadConfig: boolean };
  readonly server: {
    readonly listen: readonly ListenAddress[];
    readonly adminListen: readonly ListenAddress[];
    /**
     * False: `adminListen` are the data listeners, and those of them count that turn out to be bound to this machine.
     */
    readonly isAdminListenSet: boolean;
    readonly healthListen: readonly ListenAddress[];
    readonly publicUrl: string | null;
    readonly trustedProxies: readonly string[];
    readonly allowedHosts: readonly string[];
    readonly corsOrigins: readonly string[];
    /** Names, or `*`; null when not set: the default credential only. */
    readonly anonymousCredentials: readonly string[] | null;
    readonly drainTimeoutMs: number;
    readonly shutdownDelayMs: number;
    readonly headerTimeoutMs: number;
    readonly keepAliveTimeoutMs: number;
    /** 0: no limit of ours. */
    readonly maxBodyBytes: number;
    readonly unsafeAllowAnonymous: boolean;
    readonly tls: { readonly certFile: string; readonly keyFile: string; readonly clientCaFile: string | null } | null;
  };
  readonly credentials: readonly CredentialConfig[];
  readonly reauthentication: { readonly refreshAccessToken: boolean; readonly refreshTokenWaitMaxMs: number };
  readonly logging: {
    readonly level: LogLevel;
    readonly format: 'json' | 'text';
    readonly toConsole: boolean;
    readonly filePath: string | null;
    readonly requestBody: boolean;
    readonly responseBody: boolean;
    readonly bodyMaxBytes: number;
  };
  readonly proxy: {
    /** Explicit URL without credentials in it; null: the environment decides, unless `off`. */
    readonly url: string | null;
    readonly username: string | null;
    readonly password: SecretSource | null;
    /**
     * The proxies that may be shown them, where a PAC script names the proxies; empty: whether all may depends on where
     * it comes from.
     */
    readonly credentialHosts: readonly string[];
    readonly noProxy: readonly string[];
    readonly off: boolean;
  };
  readonly tls: {
    readonly caFile: string | null;
    readonly certFile: string | null;
    readonly keyFile: string | null;
    readonly keyPassphrase: SecretSource | null;
  };
  readonly timeouts: {
    readonly connectMs: number;
    readonly tokenMs: number;
    readonly headersMs: number;
    readonly bodyMs: number;
    readonly totalWaitMs: number;
  };
  readonly retry: { readonly max: number; readonly waitMinMs: number; readonly waitMaxMs: number };
  readonly rateLimit: {
    readonly mode: 'enforce' | 'report' | 'off';
    readonly requestsPerMinute: number | 'auto';
    readonly queueMax: number;
    /** Calls under way to one host at a time. */
    readonly connections: number;
  };
  readonly clients: readonly ClientConfig[];
  readonly store: {
    readonly type: 'memory' | 'file';
    readonly path: string;
    readonly prefix: string;
    readonly encryptionKey: SecretSource | null;
  };
  /** Headers set on every forwarded call, as written. */
  readonly upstreamHeaders: readonly (readonly [name: string, value: string])[];
  /**
   * Absolute paths of secret, certificate, key and CA files that settings point to: a change of theirs counts at once.
   */
  readonly referencedFiles: readonly string[];
}

/** The default credential, if there is one. */
export function defaultCredential(config: GatewayConfig): CredentialConfig | undefined {
  return config.credentials.find((credential) => credential.isDefault);
}
