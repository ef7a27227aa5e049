// What the record `ready` says: where the gateway listens, whom it leads to and as whom, and a call to try.

import { defaultCredential, type GatewayConfig } from '../config/gateway-config.ts';
import type { Gateway } from '../gateway.ts';

/** Who a credential is at the platform, as far as it is known. A person is not named: it goes into the log. */
export interface KnownIdentity {
  readonly organization: string | null;
  readonly oauthClient: string | null;
}

/** Looks an identity up; null while it is not known. Must be quick. */
export type IdentityOf = (credential: string) => KnownIdentity | null;

const nobodyKnown: IdentityOf = () => null;

/** The fields of the record. `afterMs`: how long the start took. */
export function readyFields(
  gateway: Pick<Gateway, 'runtime'>,
  addresses: readonly string[],
  afterMs: number,
  identityOf: IdentityOf = nobodyKnown,
): Record<string, unknown> {
  const { config, credentials } = gateway.runtime();
  const { domain, api } = config.general.hosts;
  // Those for calls come first; who cannot call at an address is not sent there.
  const callable = addresses.slice(0, config.server.listen.length);
  return {
    addresses: callable,
    region: domain,
    // Where `[gateway]` sends calls in the place of the region.
    ...(api.origin !== `https://api.${domain}` && { upstream: api.origin }),
    credentials: credentials.list().map(({ config: { name, grantType }, source }) => {
      const { organization, oauthClient } = identityOf(name) ?? { organization: null, oauthClient: null };
      return {
        name,
        grant: grantType,
        ...(organization !== null && { organization }),
        ...(oauthClient !== null && { oauthClient }),
        ...(source.state().renewal === 'login_required' && { loginNeeded: true }),
      };
    }),
    afterMs: Math.round(afterMs),
    try: callToTry(config, callable[0] ?? ''),
  };
}

/** Any token may ask this, whatever its permissions are. */
const PATH = '/api/v2/tokens/me';

/** A curl line that should be answered 200. */
function callToTry(config: GatewayConfig, address: string): string {
  const { credentials, clients, server } = config;
  const name = defaultCredential(config)?.name === undefined ? credentials[0]?.name : undefined;
  const path = name === undefined ? PATH : `/${name}${PATH}`;
  const proof = clients.length > 0 && server.anonymousCredentials === null ? " -H 'X-Gateway-Key: SECRET'" : '';
  if (address.startsWith('unix:')) return `curl${proof} --unix-socket ${address.slice(5)} http://localhost${path}`;
  const ca = address.startsWith('https:') ? ' --cacert CA.pem' : '';
  return `curl${proof}${ca} ${withoutWildcard(address)}${path}`;
}

/** A wildcard address cannot be called. */
function withoutWildcard(address: string): string {
  return address.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:');
}
