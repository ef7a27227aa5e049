// Whether two settings are the same, secrets included, without showing any.

import type { SecretSource } from '../secret.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { DEFAULT_NAME } from './layers.ts';

/** Whether two values of a configuration mean the same. Keys named `location` are left out, and those in `besides`. */
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

function isSecretSource(value: object): value is SecretSource {
  return typeof (value as Partial<SecretSource>).revision === 'function';
}

function isSameSecret(a: SecretSource, b: SecretSource): boolean {
  const revision = a.revision();
  return revision === b.revision() && (revision.startsWith('inline:') || a.origin === b.origin);
}

/** `credential.crm.client_secret` and the like, with where each comes from. Nothing is read. */
export function secretSettings(config: GatewayConfig): ReadonlyMap<string, SecretSource> {
  const found = new Map<string, SecretSource>();
  const add = (key: string, source: SecretSource | null) => {
    if (source !== null) found.set(key, source);
  };
  for (const { name, clientSecret, assertion, accessToken, refreshToken } of config.credentials) {
    const head = name === DEFAULT_NAME ? 'credential' : `credential.${name}`;
    add(`${head}.client_secret`, clientSecret);
    add(`${head}.assertion`, assertion);
    add(`${head}.access_token`, accessToken);
    add(`${head}.refresh_token`, refreshToken);
  }
  for (const { name, secret } of config.clients) add(`client.${name}.secret`, secret);
  add('proxy.password', config.proxy.password);
  add('tls.key_passphrase', config.tls.keyPassphrase);
  add('store.encryption_key', config.store.encryptionKey);
  return found;
}
