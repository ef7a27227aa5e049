// [credential] and [credential.NAME]: which grant, whether it has all it needs, which one is the default.

import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { looksSwapped, type SecretSource } from '../../secret.ts';
import { commandSecret } from '../../secret-command.ts';
import { boolean, choice, integer, itemList, secret, text } from '../option.ts';
import { quote } from '../problem.ts';
import { DEFAULT_NAME, Section, type SectionContext, type SectionReader, type Values } from '../section.ts';
import { err, ok, type Parsed, parseHttpUrl } from '../values.ts';
import type { RegionReader, UpstreamHosts } from './general.ts';

const GRANT_TYPES = [
  'client_credentials',
  'authorization_code',
  'pkce',
  'saml2_bearer',
  'implicit',
  'access_token',
] as const;

export type GrantType = (typeof GRANT_TYPES)[number];

/** The most tokens of one credential. */
export const MOST_TOKENS = 20;

export const credential = new Section(
  'credential',
  'A Genesys Cloud identity. [credential] is named "default"; further ones are [credential.NAME], reached as ' +
    '/NAME/api/v2/….',
  {
    grant_type: choice(GRANT_TYPES, null, {
      defaultNote: 'client_credentials; access_token when only that is set',
      example: 'client_credentials',
      doc:
        'How tokens are obtained: client_credentials, authorization_code, pkce, saml2_bearer, implicit or ' +
        'access_token.',
      more:
        'client_credentials is for services; authorization_code and pkce let a person log in with a browser; ' +
        'saml2_bearer posts an assertion; access_token takes a token you already have. implicit is being retired by ' +
        'the platform.',
    }),
    client_id: text(null, {
      example: '00000000-0000-0000-0000-000000000000',
      doc: 'The OAuth client id, from Admin > Integrations > OAuth.',
    }),
    client_secret: secret({ example: 'GENESYS_CLIENT_SECRET', doc: 'The OAuth client secret.' }),
    client_secret_command: itemList({
      example: '/usr/local/bin/print-secret',
      whenEmpty: 'give the program, or leave the key out',
      doc: 'A program that prints the client secret: one list item per argument, run without a shell.',
      more:
        'For key chains and vaults. Run when the secret is first needed, again when the platform refuses it and on ' +
        "SIGHUP. Refused unless this file and its folder are yours or root's, and nobody else can write to them.",
    }),
    org_name: text(null, {
      example: 'my-organisation',
      doc: 'The short name of the organisation (saml2_bearer).',
    }),
    assertion: secret({
      ignoresBlanks: true,
      example: 'SAML_ASSERTION',
      doc: 'The SAML assertion in Base64 (saml2_bearer).',
      more: 'Without it, and without assertion_command, post one to /-/credentials/NAME/assertion.',
    }),
    assertion_command: itemList({
      example: '/usr/local/bin/make-assertion',
      doc: 'A program that prints a fresh assertion: one list item per argument, run without a shell (saml2_bearer).',
      more: "Refused unless this file and its folder are yours or root's, and nobody else can write to them.",
    }),
    access_token: secret({ example: 'GENESYS_ACCESS_TOKEN', doc: 'A token obtained elsewhere (access_token).' }),
    refresh_token: secret({
      example: 'GENESYS_REFRESH_TOKEN',
      doc: 'A refresh token obtained elsewhere, to begin with (authorization_code, pkce).',
    }),
    redirect_uri: text(null, {
      parse: asWrittenUrl,
      defaultNote: "the gateway's own callback page",
      example: 'http://localhost:8080/-/callback',
      doc: 'The redirect URI as registered with the OAuth client (grants with a user).',
    }),
    scope: text(null, {
      example: 'users:readonly routing',
      doc: 'Scopes to request, separated by spaces.',
    }),
    org: text(null, {
      example: 'my-organisation',
      doc: 'Log in to this organisation at once; together with provider.',
    }),
    provider: text(null, {
      example: 'okta',
      doc: 'Log in with this identity provider (okta, adfs, salesforce, ping, …); together with org.',
    }),
    prompt: choice(['login'], null, {
      example: 'login',
      doc: 'login: ask for the password even when the browser is logged in.',
    }),
    target: text(null, {
      example: '00000000-0000-0000-0000-000000000000',
      doc: 'The id of an organisation that trusts yours, to log in there.',
    }),
    login_hint: text(null, {
      example: 'someone@example.com',
      doc: 'Fills in the login page: an e-mail address, an organisation, or email:org.',
    }),
    tokens: integer(null, {
      min: 1,
      max: MOST_TOKENS,
      defaultNote: '1',
      example: '4',
      doc: 'How many tokens of this OAuth client calls may be spread over (client_credentials).',
      more:
        "Got one by one as the limits of those in hand fill; rate_limit.requests_per_minute is each one's. Your " +
        'contract decides whether that suits: docs/limits.md, "More tokens".',
    }),
    host: text(null, {
      defaultNote: 'general.host',
      example: 'mypurecloud.de',
      doc: 'Region of this credential, if different from general.host.',
    }),
    default: boolean(null, {
      defaultNote: 'true for [credential], or for the only one there is',
      example: 'true',
      doc: 'Use this credential for calls that name none.',
    }),
    required: boolean(null, {
      defaultNote: 'true for the default credential',
      example: 'true',
      doc: 'The gateway is not ready before this credential has a token.',
    }),
  },
  { isNamed: true },
);

type Key = keyof (typeof credential)['options'];
type Reader = SectionReader<(typeof credential)['options']>;

/** `[credential]` or `[credential.NAME]`. */
export type CredentialConfig = Omit<
  Values<typeof credential>,
  'grantType' | 'host' | 'default' | 'required' | 'clientSecretCommand' | 'tokens'
> & {
  readonly name: string;
  readonly grantType: GrantType;
  /** The most tokens that calls are spread over. */
  readonly tokens: number;
  readonly hosts: UpstreamHosts;
  readonly isDefault: boolean;
  readonly isRequired: boolean;
  /** `file:line` (or env NAME) where it is configured, for messages. */
  readonly location: string;
};

/** A credential with nothing else set, for those that do not come from a configuration. */
export function bareCredential(
  own: Pick<CredentialConfig, 'name' | 'grantType' | 'hosts' | 'location'>,
): CredentialConfig {
  const { host, default: isDefault, required, clientSecretCommand, tokens, ...nothing } = credential.defaults();
  return { ...nothing, tokens: 1, isDefault: false, isRequired: false, ...own };
}

/** Grants in which a person logs in; their tokens should survive a restart. */
export const USER_GRANTS: ReadonlySet<GrantType> = new Set(['authorization_code', 'pkce', 'implicit']);

interface GrantNeeds {
  readonly needs: readonly Key[];
  /** Keys besides those that mean something to this grant. */
  readonly uses: readonly Key[];
}

const LOGIN_KEYS: readonly Key[] = ['redirect_uri', 'scope', 'org', 'provider', 'prompt', 'target', 'login_hint'];

const GRANTS: Readonly<Record<GrantType, GrantNeeds>> = {
  client_credentials: { needs: ['client_id', 'client_secret'], uses: ['scope', 'client_secret_command'] },
  authorization_code: {
    needs: ['client_id', 'client_secret'],
    uses: [...LOGIN_KEYS, 'refresh_token', 'client_secret_command'],
  },
  pkce: {
    needs: ['client_id'],
    uses: [...LOGIN_KEYS, 'refresh_token', 'client_secret', 'client_secret_command'],
  },
  saml2_bearer: {
    needs: ['client_id', 'client_secret', 'org_name'],
    uses: ['scope', 'client_secret_command', 'assertion', 'assertion_command'],
  },
  implicit: { needs: ['client_id'], uses: LOGIN_KEYS },
  access_token: { needs: ['access_token'], uses: ['client_id'] },
};

/** Keys that some grants ignore: setting them there is a warning. */
const GRANT_KEYS: readonly Key[] = [
  'client_secret',
  'client_secret_command',
  'org_name',
  'assertion',
  'assertion_command',
  'access_token',
  'refresh_token',
  ...LOGIN_KEYS,
];

/** Reads all credentials, in the order in which they are written. */
export function readCredentials(context: SectionContext, regions: RegionReader): CredentialConfig[] {
  const drafts = context.settings.names('credential').map(({ name, location }) => {
    const reader = credential.reader(context, name, location);
    return { reader, name, location, isFlagged: reader.get('default'), isRequired: reader.get('required') };
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
  const defaultDraft = flagged[0] ?? fallback;
  return drafts.map((draft) => {
    const { reader, name, location, isRequired } = draft;
    const isDefault = draft === defaultDraft;
    return { name, location, ...readCredential(reader, regions), isDefault, isRequired: isRequired ?? isDefault };
  });
}

/** For a gateway that counts no calls: it cannot tell when a token's limit is near. */
export function warnOfIdleTokens(context: SectionContext, credentials: readonly CredentialConfig[]): void {
  for (const { name, tokens } of credentials) {
    if (tokens > 1)
      credential.reader(context, name).warning('tokens', 'has no effect with rate_limit.mode = off: one token is used');
  }
}

function readCredential(
  reader: Reader,
  regions: RegionReader,
): Omit<CredentialConfig, 'name' | 'location' | 'isDefault' | 'isRequired'> {
  const hasSecret = reader.isSet('client_secret') || reader.isSet('client_secret_command');
  const guessed = reader.isSet('access_token') && !hasSecret ? 'access_token' : 'client_credentials';
  const grant = reader.get('grant_type');
  const isGrantWrong = reader.isSet('grant_type') && grant === null;
  const grantType = grant ?? guessed;
  const values = reader.values(
    'grant_type',
    'tokens',
    'host',
    'default',
    'required',
    'client_secret',
    'client_secret_command',
  );
  const tokens = reader.get('tokens') ?? 1;
  const clientSecret = readClientSecret(reader, grantType);
  const hosts = regions.hostsOf(reader.get('host'), 'host', reader);
  if (!isGrantWrong) checkGrant(reader, grantType);
  if (clientSecret !== null && values.clientId !== null && !reader.isSet('client_secret_command'))
    checkSwapped(reader, values.clientId, clientSecret);
  return { ...values, clientSecret, grantType, tokens, hosts };
}

/** The secret, or the command that prints it. The higher layer counts: a variable replaces the command of a file. */
function readClientSecret(reader: Reader, grantType: GrantType): SecretSource | null {
  const [value, command] = [reader.setting('client_secret'), reader.setting('client_secret_command')];
  if (value !== undefined && command !== undefined && value.layer === command.layer)
    reader.problem('client_secret_command', `and client_secret (${value.location}) say the same thing; keep one`);
  if (command === undefined || (value !== undefined && value.layer <= command.layer))
    return reader.get('client_secret');
  const argv = reader.get('client_secret_command');
  if (argv.length === 0) return null;
  if (GRANTS[grantType].uses.includes('client_secret_command')) checkProgram(reader, 'client_secret_command');
  return commandSecret(argv);
}

/**
 * Warns of a program that is not there, that cannot be run, or that everybody may change. One that is found by $PATH, or from
 * the working directory, is looked for when it is needed.
 */
function checkProgram(reader: Reader, key: 'client_secret_command' | 'assertion_command'): void {
  const [program = ''] = reader.get(key);
  if (!isAbsolute(program) || process.platform === 'win32') return;
  try {
    accessSync(program, constants.X_OK);
    const stats = statSync(program);
    if (!stats.isFile()) reader.warning(key, `${program} is no program that could be run`);
    else if ((stats.mode & 0o002) !== 0)
      reader.warning(key, `everybody can write to ${program}, and so run programs as us; run chmod o-w on it`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const what = code === 'EACCES' ? 'may not be run by us; run chmod +x on it' : `cannot be run (${code})`;
    reader.warning(key, `${program} ${what}: no token can be had until it can`);
  }
}

function checkSwapped(reader: Reader, clientId: string, source: SecretSource): void {
  if (looksSwapped(clientId, source.read()))
    reader.warning(
      'client_id',
      'this and client_secret look swapped: an id of Genesys Cloud is a UUID, a secret is not',
    );
}

function checkGrant(reader: Reader, grantType: GrantType): void {
  const { needs, uses } = GRANTS[grantType];
  for (const key of needs) {
    if (key === 'client_secret' && reader.isSet('client_secret_command')) continue;
    if (!reader.isSet(key)) reader.missing(key, `is missing; grant_type = ${grantType} needs it`);
  }
  for (const key of GRANT_KEYS) {
    if (reader.isSet(key) && !needs.includes(key) && !uses.includes(key))
      reader.warning(key, `has no effect with grant_type = ${grantType}`);
  }
  if (reader.isSet('org') !== reader.isSet('provider')) {
    const [given, missing] = reader.isSet('org') ? (['org', 'provider'] as const) : (['provider', 'org'] as const);
    reader.missing(given, `needs ${missing} beside it`);
  }
  if (grantType !== 'client_credentials' && (reader.get('tokens') ?? 1) > 1)
    reader.problem('tokens', `must be 1 with grant_type = ${grantType}: only client_credentials may have more tokens`);
  if (grantType === 'saml2_bearer') checkAssertion(reader);
  if (grantType === 'implicit') reader.warning('grant_type', 'implicit is being retired by Genesys Cloud; use pkce');
}

function checkAssertion(reader: Reader): void {
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
  } else if (hasCommand) checkProgram(reader, 'assertion_command');
}

/** A URL, unchanged: a redirect URI must equal the registered one octet by octet. */
function asWrittenUrl(text: string): Parsed<string> {
  const url = parseHttpUrl(text);
  return url.ok ? ok(text) : err(url.message);
}
