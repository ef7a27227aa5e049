// Which grant obtains the token of a credential: one table. Each entry puts a form, a client authentication and the token endpoint together.

import type { Clock } from '../../clock.ts';
import type { CredentialConfig, GrantType } from '../../config/gateway-config.ts';
import type { SecretSource } from '../../config/secret-source.ts';
import type { Obtain } from '../cached-source.ts';
import { basicAuth } from '../client-auth.ts';
import type { TokenEndpoint } from '../token-endpoint.ts';
import { TokenFailure } from '../token-failure.ts';
import { readAccessToken } from './access-token.ts';
import { clientCredentialsForm } from './client-credentials.ts';

/** What a grant may use. */
export interface GrantDeps {
  readonly config: CredentialConfig;
  readonly endpoint: TokenEndpoint;
  readonly clock: Clock;
}

/** The obtain function of each grant type that needs no person. */
export const OBTAIN: Record<GrantType, (deps: GrantDeps) => Obtain> = {
  client_credentials: ({ config, endpoint }) => {
    return async () => {
      const auth = basicAuth(required(config, 'client_id', config.clientId), required(config, 'client_secret', config.clientSecret));
      const call = { credential: config.name, grant: config.grantType, hosts: config.hosts, auth, form: clientCredentialsForm(config.scope) };
      return (await endpoint(call)).token;
    };
  },
  access_token: ({ config, clock }) => {
    return async () => readAccessToken(required(config, 'access_token', config.accessToken), clock.now());
  },
  authorization_code: notYet,
  pkce: notYet,
  saml2_bearer: notYet,
  implicit: notYet,
};

function notYet({ config }: GrantDeps): Obtain {
  return async () => {
    throw new TokenFailure('login_required', `credential ${config.name} needs a login`);
  };
}

/** The configuration's loader makes sure of it; a credential made elsewhere gets a plain word instead of a crash. */
export function required<T extends string | SecretSource>(config: CredentialConfig, key: string, value: T | null): T {
  if (value === null) throw new TokenFailure('refused', `credential ${config.name} (${config.origin}) has no ${key}`);
  return value;
}
