// Every secret of a configuration under its key, for whoever has to know them all: the log's mask, and the comparison of two configurations.

import type { GatewayConfig } from './gateway-config.ts';
import { DEFAULT_NAME } from './names.ts';
import type { SecretSource } from './secret-source.ts';

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
