// The platform's login URL for a browser (RFC 6749 section 4.1.1, RFC 7636 section 4.3).

import type { CredentialConfig } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import { codeChallenge, joinScopes } from './grants.ts';

/** What a login adds to the configuration. `verifier` is needed for `pkce` only. */
export interface AuthorizeRequest {
  readonly redirectUri: string;
  readonly state: string;
  readonly verifier: string | null;
}

type LoginConfig = Pick<
  CredentialConfig,
  'clientId' | 'grantType' | 'hosts' | 'name' | 'org' | 'provider' | 'target' | 'loginHint' | 'prompt' | 'scope'
>;

/**
 * The platform's login URL, with the parameters in the SDKs' order, `scope` last. Throws gateway.credential.rejected
 * when only one of `org` and `provider` is there.
 */
export function authorizeUrl(config: LoginConfig, request: AuthorizeRequest): string {
  const { hosts, name, org, provider } = config;
  if ((org === null) !== (provider === null)) {
    const [given, missing] = org === null ? ['provider', 'org'] : ['org', 'provider'];
    throw new GatewayError(
      'gateway.credential.rejected',
      `credential ${name} has ${given} but no ${missing}: give both or neither`,
    );
  }
  const parameters: [string, string | null][] = [
    ['client_id', config.clientId],
    ['redirect_uri', request.redirectUri],
    ...flowParameters(config, request),
    ['state', request.state],
    ['org', org],
    ['provider', provider],
    ['target', config.target],
    ['login_hint', config.loginHint],
    ['prompt', config.prompt === 'login' ? 'login' : null],
    ['scope', joinScopes(config.scope) || null],
  ];
  const query = parameters
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key}=${encodeURIComponent(value ?? '')}`)
    .join('&');
  return `${hosts.login.origin}${hosts.login.pathPrefix}/oauth/authorize?${query}`;
}

function flowParameters({ grantType }: LoginConfig, { verifier }: AuthorizeRequest): [string, string][] {
  if (grantType === 'implicit') return [['response_type', 'token']];
  if (grantType !== 'pkce') return [['response_type', 'code']];
  return [
    ['code_challenge', codeChallenge(verifier ?? '')],
    ['response_type', 'code'],
    ['code_challenge_method', 'S256'],
  ];
}
