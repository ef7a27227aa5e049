// The configuration as the rest of the gateway sees it: typed, validated, complete. Made by `loadConfig`; nothing else
// reads the environment. What its sections hold is declared with their options.

import type { SecretSource } from '../secret.ts';
import { labelOf, type Values } from './section.ts';
import { type ClientConfig, client } from './sections/client.ts';
import { type CredentialConfig, credential } from './sections/credential.ts';
import type { GeneralConfig } from './sections/general.ts';
import type { InspectorConfig } from './sections/inspector.ts';
import type { AuditConfig, LoggingConfig } from './sections/process.ts';
import { type ProxyConfig, proxy } from './sections/proxy.ts';
import type { ServerConfig } from './sections/server.ts';
import { type StoreConfig, store } from './sections/store.ts';
import { type TracingConfig, tracing } from './sections/tracing.ts';
import { type rateLimit, type reauthentication, type retry, type timeouts, tls } from './sections/traffic.ts';

export type { ListenAddress } from './listen-address.ts';
export type { ClientConfig } from './sections/client.ts';
export type { CredentialConfig, GrantType } from './sections/credential.ts';
export type { UpstreamHosts, UrlBase } from './sections/general.ts';
export type { LogLevel } from './sections/process.ts';

/**
 * Everything the gateway needs to run. Durations in ms, sizes in bytes. Deeply readonly; replaced as a whole on reload.
 */
export interface GatewayConfig {
  /** Files that were read, for messages and the watcher. */
  readonly files: readonly string[];
  readonly general: GeneralConfig;
  readonly server: ServerConfig;
  readonly credentials: readonly CredentialConfig[];
  readonly reauthentication: Values<typeof reauthentication>;
  readonly logging: LoggingConfig;
  readonly audit: AuditConfig;
  readonly inspector: InspectorConfig;
  readonly tracing: TracingConfig;
  readonly proxy: ProxyConfig;
  readonly tls: Values<typeof tls>;
  readonly timeouts: Values<typeof timeouts>;
  readonly retry: Values<typeof retry>;
  readonly rateLimit: Values<typeof rateLimit>;
  readonly clients: readonly ClientConfig[];
  readonly store: StoreConfig;
  /** Headers set on every forwarded call, as written. */
  readonly upstreamHeaders: readonly (readonly [name: string, value: string])[];
  /**
   * Absolute paths of secret, certificate, key and CA files that settings point to: a change of theirs counts at once.
   */
  readonly referencedFiles: readonly string[];
}

/** The default credential, if there is one. */
export function defaultCredential(config: GatewayConfig): CredentialConfig | undefined {
  return config.credentials.find(({ isDefault }) => isDefault);
}

/** The secrets that are set, by keys like `credential.crm.client_secret`. Nothing is read. */
export function secretSettings(config: GatewayConfig): ReadonlyMap<string, SecretSource> {
  const all = [
    ...config.credentials.map((one) => ({ section: credential, values: one, name: one.name })),
    ...config.clients.map((one) => ({ section: client, values: one, name: one.name })),
    ...[
      { section: proxy, values: config.proxy, name: '' },
      { section: tls, values: config.tls, name: '' },
      { section: store, values: config.store, name: '' },
      { section: tracing, values: config.tracing, name: '' },
    ],
  ];
  return new Map(
    all.flatMap(({ section, values, name }) =>
      section.secrets(values).flatMap(([key, value]): [string, SecretSource][] => {
        const label = labelOf({ section: section.name, name }, key);
        return isSecretSource(value) ? [[label, value]] : [];
      }),
    ),
  );
}

/**
 * Whether two values of a configuration mean the same, secrets included. Keys named `location` are left out, and those
 * in `besides`.
 */
export function isSameSetting(a: unknown, b: unknown, besides: readonly string[] = []): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (isSecretSource(a) || isSecretSource(b)) return isSecretSource(a) && isSecretSource(b) && isSameSecret(a, b);
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  for (const key of keys) {
    if (key === 'location' || besides.includes(key)) continue;
    if (!isSameSetting((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key], besides)) return false;
  }
  return true;
}

function isSecretSource(value: unknown): value is SecretSource {
  return typeof (value as Partial<SecretSource> | null | undefined)?.revision === 'function';
}

function isSameSecret(a: SecretSource, b: SecretSource): boolean {
  const revision = a.revision();
  return revision === b.revision() && (revision.startsWith('inline:') || a.origin === b.origin);
}
