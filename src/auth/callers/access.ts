// Which credentials a caller may use, and which one serves it when it names none. Pure.

import { type CredentialConfig, defaultCredential, type GatewayConfig } from '../../config/gateway-config.ts';
import type { Caller } from './caller.ts';

/** Answers for every caller of one configuration. */
export interface Access {
  /** The credential that serves a caller who names none; null when there is none. */
  defaultFor(caller: Caller): string | null;
  /** Whether the caller may use a credential of that name, which may not exist. */
  mayUse(caller: Caller, name: string): boolean;
  /** The permitted credential with that OAuth client id, the caller's default first. */
  byClientId(caller: Caller, clientId: string): CredentialConfig | null;
}

/**
 * Clients use what is listed for them, or the default; all others what `anonymous_credentials` says, or the default.
 */
export function createAccess(config: Pick<GatewayConfig, 'credentials' | 'clients' | 'server'>): Access {
  const defaultName = defaultCredential(config as GatewayConfig)?.name ?? null;
  const { anonymousCredentials } = config.server;
  const listed = (names: readonly string[] | null): readonly string[] => {
    if (names === null || names.length === 0) return defaultName === null ? [] : [defaultName];
    return names.includes('*')
      ? [...new Set([...(defaultName === null ? [] : [defaultName]), ...config.credentials.map(({ name }) => name)])]
      : names;
  };
  const ofAnonymous = new Set(listed(anonymousCredentials));
  const ofClients = new Map(config.clients.map((client) => [client.name, new Set(listed(client.credentials))]));
  const NOTHING: ReadonlySet<string> = new Set();
  const allowed = ({ client }: Caller): ReadonlySet<string> =>
    client === null ? ofAnonymous : (ofClients.get(client.name) ?? NOTHING);

  return {
    defaultFor(caller) {
      const names = allowed(caller);
      const [first] = names;
      // The first of a client's list is its default; anonymous callers have the gateway's own where they may use it, or
      // the only one they may.
      if (caller.client !== null || names.size === 1) return first ?? null;
      return defaultName !== null && names.has(defaultName) ? defaultName : null;
    },
    mayUse: (caller, name) => allowed(caller).has(name),
    byClientId(caller, clientId) {
      const matching = config.credentials.filter(
        (credential) => credential.clientId === clientId && allowed(caller).has(credential.name),
      );
      return matching.find(({ name }) => name === this.defaultFor(caller)) ?? matching[0] ?? null;
    },
  };
}
