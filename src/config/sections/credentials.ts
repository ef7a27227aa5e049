// Reads [credential] and [credential.NAME]: which grant, whether it has all it needs, which one is the default.

import type { CredentialConfig, GrantType } from '../gateway-config.ts';
import { DEFAULT_NAME } from '../layers.ts';
import { GRANT_TYPES } from '../options/identity.ts';
import { quote } from '../problem.ts';
import { createSectionReader, type ReaderContext, type SectionReader } from '../reader.ts';
import { parseHttpUrl } from '../values.ts';
import type { UpstreamReader } from './upstream.ts';

/** Grants in which a person logs in; their tokens deserve a store that survives a restart. */
export const USER_GRANTS: ReadonlySet<GrantType> = new Set(['authorization_code', 'pkce', 'implicit']);

interface GrantNeeds {
  readonly needs: readonly string[];
  /** Keys besides those that mean something to this grant. */
  readonly uses: readonly string[];
}

const LOGIN_KEYS = ['redirect_uri', 'scope', 'org', 'provider', 'prompt', 'target', 'login_hint'];

const GRANTS: Readonly<Record<GrantType, GrantNeeds>> = {
  client_credentials: { needs: ['client_id', 'client_secret'], uses: ['scope'] },
  authorization_code: { needs: ['client_id', 'client_secret'], uses: [...LOGIN_KEYS, 'refresh_token'] },
  pkce: { needs: ['client_id'], uses: [...LOGIN_KEYS, 'refresh_token', 'client_secret'] },
  saml2_bearer: {
    needs: ['client_id', 'client_secret', 'org_name'],
    uses: ['scope', 'assertion', 'assertion_command'],
  },
  implicit: { needs: ['client_id'], uses: LOGIN_KEYS },
  access_token: { needs: ['access_token'], uses: ['client_id'] },
};

/** Keys that some grants have no use for: set there, they are warned about. */
const GRANT_KEYS = [
  'client_secret',
  'org_name',
  'assertion',
  'assertion_command',
  'access_token',
  'refresh_token',
  ...LOGIN_KEYS,
];

/** Reads all credentials, in the order in which they are written. */
export function readCredentials(context: ReaderContext, upstream: UpstreamReader): CredentialConfig[] {
  const drafts = context.settings.names('credential').map(({ name, location }) => {
    const reader = createSectionReader(context, 'credential', name, location);
    return {
      reader,
      name,
      location,
      isFlagged: reader.maybeBoolean('default'),
      isRequired: reader.maybeBoolean('required'),
    };
  });
  const flagged = drafts.filter(({ isFlagged }) => isFlagged === true);
  for (const { reader } of flagged.slice(1)) {
    reader.problem(
      'default',
      `credential ${quote(flagged[0]?.name ?? '')} is the default already (${flagged[0]?.location}); only one can be`,
    );
  }
  const candidates = drafts.filter(({ isFlagged }) => isFlagged !== false);
  const fallback =
    candidates.find(({ name }) => name === DEFAULT_NAME) ?? (drafts.length === 1 ? candidates[0] : undefined);
  const defaultCredential = flagged[0] ?? fallback;
  return drafts.map((draft) => {
    const isDefault = draft === defaultCredential;
    return {
      ...readCredential(draft.reader, draft.name, draft.location, upstream),
      isDefault,
      isRequired: draft.isRequired ?? isDefault,
    };
  });
}

function readCredential(
  reader: SectionReader,
  name: string,
  location: string,
  upstream: UpstreamReader,
): Omit<CredentialConfig, 'isDefault' | 'isRequired'> {
  const guessed =
    reader.isSet('access_token') && !reader.isSet('client_secret') ? 'access_token' : 'client_credentials';
  const grant = reader.choice('grant_type', GRANT_TYPES);
  const isGrantWrong = reader.isSet('grant_type') && grant === null;
  const grantType = grant ?? guessed;
  const credential = {
    name,
    grantType,
    clientId: reader.text('client_id'),
    clientSecret: reader.secret('client_secret'),
    orgName: reader.text('org_name'),
    assertion: reader.secret('assertion'),
    assertionCommand: reader.list('assertion_command'),
    accessToken: reader.secret('access_token'),
    refreshToken: reader.secret('refresh_token'),
    redirectUri: readRedirectUri(reader),
    scope: reader.text('scope'),
    org: reader.text('org'),
    provider: reader.text('provider'),
    prompt: reader.choice('prompt', ['login']),
    target: reader.text('target'),
    loginHint: reader.text('login_hint'),
    hosts: upstream.hostsOf(reader, 'host'),
    location,
  };
  if (!isGrantWrong) checkGrant(reader, grantType);
  return credential;
}

function checkGrant(reader: SectionReader, grantType: GrantType): void {
  const { needs, uses } = GRANTS[grantType];
  for (const key of needs)
    if (!reader.isSet(key)) reader.missing(key, `is missing; grant_type = ${grantType} needs it`);
  for (const key of GRANT_KEYS) {
    if (reader.isSet(key) && !needs.includes(key) && !uses.includes(key))
      reader.warning(key, `has no effect with grant_type = ${grantType}`);
  }
  if (reader.isSet('org') !== reader.isSet('provider')) {
    const [given, missing] = reader.isSet('org') ? ['org', 'provider'] : ['provider', 'org'];
    reader.missing(given, `needs ${missing} beside it`);
  }
  if (grantType === 'saml2_bearer') checkAssertion(reader);
  if (grantType === 'implicit') reader.warning('grant_type', 'implicit is being retired by Genesys Cloud; use pkce');
}

function checkAssertion(reader: SectionReader): void {
  const hasCommand = reader.isSet('assertion_command');
  if (hasCommand && reader.isSet('assertion')) {
    reader.problem(
      'assertion_command',
      `and assertion (${reader.location('assertion')}) say the same thing; keep one of the two`,
    );
  } else if (!hasCommand && !reader.isSet('assertion')) {
    reader.warning(
      'assertion',
      'is not set; no token can be had before one is posted to /-/credentials/NAME/assertion',
    );
  }
}

function readRedirectUri(reader: SectionReader): string | null {
  const text = reader.text('redirect_uri');
  if (text === null) return null;
  const url = parseHttpUrl(text);
  if (!url.ok) reader.problem('redirect_uri', url.message);
  // As written: it must equal the registered one octet by octet.
  return text;
}
