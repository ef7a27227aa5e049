// The credential that stands in for sessions where no configured one serves them: the general hosts and nothing else. Data only.

import type { CredentialConfig, UpstreamHosts } from '../../config/gateway-config.ts';

/** Has no secret and obtains no token by itself; its name appears in records. */
export function sessionCredential(hosts: UpstreamHosts): CredentialConfig {
  return {
    name: 'session',
    grantType: 'access_token',
    clientId: null,
    clientSecret: null,
    orgName: null,
    assertion: null,
    assertionCommand: [],
    accessToken: null,
    refreshToken: null,
    redirectUri: null,
    scope: null,
    org: null,
    provider: null,
    prompt: null,
    target: null,
    loginHint: null,
    hosts,
    isDefault: false,
    isRequired: false,
    origin: 'the application',
  };
}
