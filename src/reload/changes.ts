// Compares two configurations: which keys differ (never their values), and which of them need a restart. Pure.

import type { EffectiveSetting } from '../config/effective.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { isSameSetting, secretSettings } from '../config/gateway-config.ts';
import type { Problem } from '../config/problem.ts';
import { findKey } from '../config/table.ts';
import type { SecretSource } from '../secret.ts';

/** A configuration with its settings in effect, as `loadConfig` gives it. */
export interface LoadedConfig {
  readonly config: GatewayConfig;
  readonly settings: readonly EffectiveSetting[];
  readonly warnings: readonly Problem[];
}

/** How a secret's key may end. */
const SECRET_FORMS = ['', '_file', '_env', '_command'];

/** The keys that differ, in the order of the documentation. */
export function changedKeys(before: LoadedConfig, after: LoadedConfig): string[] {
  const [old, now] = [before, after].map(({ settings }) => new Map(settings.map(({ key, value }) => [key, value])));
  const keys = new Set([...(now?.keys() ?? []), ...(old?.keys() ?? [])]);
  const changed = new Set([...keys].filter((key) => (old?.get(key) ?? null) !== (now?.get(key) ?? null)));
  const [oldSecrets, nowSecrets] = [secretSettings(before.config), secretSettings(after.config)];
  for (const key of new Set([...oldSecrets.keys(), ...nowSecrets.keys()])) {
    const isShown = SECRET_FORMS.some((form) => changed.has(key + form));
    if (!isShown && !isSameSetting(oldSecrets.get(key), nowSecrets.get(key))) changed.add(key);
  }
  return [...changed];
}

/** The fingerprints of all secrets at this moment: a file may hold another one later. Of unreadable ones it is ''. */
export function secretFingerprints(config: GatewayConfig): ReadonlyMap<string, string> {
  return new Map(
    [...secretSettings(config)].map(([key, source]) => [isFile(source) ? `${key}_file` : key, fingerprintOf(source)]),
  );
}

/** The keys of secret files that stayed the same file and now hold another secret. */
export function changedContents(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  return [...after]
    .filter(([key, fingerprint]) => key.endsWith('_file') && before.has(key) && before.get(key) !== fingerprint)
    .map(([key]) => key);
}

const isFile = ({ origin }: SecretSource) => origin.startsWith('file ');

function fingerprintOf(source: SecretSource): string {
  try {
    return source.read().fingerprint();
  } catch {
    // The use that needs the secret reports it.
    return '';
  }
}

/** The keys among these that take effect only after a restart. */
export function restartKeys(keys: readonly string[]): string[] {
  return keys.filter((key) => {
    const at = key.lastIndexOf('.');
    return findKey(key.slice(0, at), key.slice(at + 1))?.option.reload === 'restart';
  });
}

/** The new configuration with the listeners, the store and the audit file that the process was started with. */
export function keepForRestart(started: GatewayConfig, next: GatewayConfig): GatewayConfig {
  const { listen, adminListen, healthListen, headerTimeoutMs, keepAliveTimeoutMs, tls } = started.server;
  return {
    ...next,
    server: { ...next.server, listen, adminListen, healthListen, headerTimeoutMs, keepAliveTimeoutMs, tls },
    audit: { ...next.audit, file: started.audit.file, sync: started.audit.sync },
    inspector: { ...next.inspector, enabled: started.inspector.enabled, memory: started.inspector.memory },
    store: started.store,
  };
}
