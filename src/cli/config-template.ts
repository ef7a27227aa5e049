// Renders a new configuration file, with comments for its readers. Pure.

import type { GrantType } from '../config/gateway-config.ts';

/** A credential to write. Null: not given. */
export interface DraftCredential {
  readonly name: string;
  readonly grantType: GrantType;
  readonly host: string | null;
  readonly clientId: string | null;
  readonly clientSecret: string | null;
  readonly accessToken: string | null;
  readonly redirectUri: string | null;
  readonly orgName?: string | null;
}

/** The environment variable that stands in for a client secret that was not given. */
export const SECRET_VARIABLE = 'GENESYSCLOUD_OAUTHCLIENT_SECRET';

/** The redirect URI when none is given: platforms accept http for localhost only. */
export const DEFAULT_REDIRECT_URI = 'http://localhost:8080/-/callback';

const USER_GRANTS: ReadonlySet<string> = new Set(['authorization_code', 'pkce', 'implicit']);
const SECRET_GRANTS: ReadonlySet<string> = new Set(['client_credentials', 'authorization_code', 'saml2_bearer']);

/** Renders the file. The first credential is the default unless another has that name. */
export function renderConfigFile(region: string, credentials: readonly DraftCredential[]): string {
  const named = credentials.some(({ name }) => name === 'default');
  const sections = credentials.map((credential, at) =>
    renderCredential(credential, region, !named && at === 0 && credentials.length > 1),
  );
  return `# Configuration of genesys-cloud-gateway. "gcg check" says what is wrong with it, "gcg config" what it means,
# "gcg help settings" what else there is. Keep it readable by you alone: it may hold secrets.

[general]
# A region (eu-central-1), its domain (mypurecloud.de) or its API address.
host = ${value(region)}

[server]
# Only programs on this machine reach this address.
listen = 127.0.0.1:8080

${sections.join('\n')}`;
}

/** The redirect URIs that must be registered with the OAuth clients, each once. */
export function redirectUris(credentials: readonly DraftCredential[]): string[] {
  return [
    ...new Set(
      credentials
        .filter(({ grantType }) => USER_GRANTS.has(grantType))
        .map(({ redirectUri }) => redirectUri ?? DEFAULT_REDIRECT_URI),
    ),
  ];
}

function renderCredential(credential: DraftCredential, region: string, isDefault: boolean): string {
  const { name, grantType, host, clientId, clientSecret, accessToken, redirectUri, orgName } = credential;
  const lines = [name === 'default' ? '[credential]' : `[credential.${name}]`, `grant_type = ${grantType}`];
  if (isDefault) lines.push('default = true');
  if (host !== null && host !== region) lines.push(`host = ${value(host)}`);
  if (clientId !== null) lines.push(`client_id = ${value(clientId)}`);
  if (clientSecret !== null) lines.push(`client_secret = ${value(clientSecret)}`);
  else if (SECRET_GRANTS.has(grantType)) {
    lines.push(
      '# From the environment. Or client_secret_file = PATH, or client_secret = "THE SECRET".',
      `client_secret_env = ${SECRET_VARIABLE}`,
    );
  }
  if (orgName) lines.push(`org_name = ${value(orgName)}`);
  if (accessToken !== null) lines.push(`access_token = ${value(accessToken)}`);
  if (USER_GRANTS.has(grantType)) {
    lines.push(
      '# Must be registered with the OAuth client, octet by octet.',
      `redirect_uri = ${value(redirectUri ?? DEFAULT_REDIRECT_URI)}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** Quoted unless it is plain: other readers cut values at # and ;. */
function value(text: string): string {
  return /^[\w.:/@~-]+$/.test(text) ? text : JSON.stringify(text);
}
