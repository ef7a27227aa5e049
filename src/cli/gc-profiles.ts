// Profiles of Genesys' own CLI as credentials of ours. Reads no file; a profile that cannot be used is told, not dropped in silence.

import { refuseName } from '../config/layers.ts';
import { parseGcToml } from './gc-toml.ts';
import type { DraftCredential } from './init-file.ts';

/** The CLI's names of grants. */
const GRANTS: Readonly<Record<string, DraftCredential['grantType'] | null>> = { '0': null, '1': 'client_credentials', '2': 'implicit', '3': 'pkce' };

/** What was found. Messages hold names and lines, no values. */
export interface GcProfiles {
  readonly credentials: readonly DraftCredential[];
  readonly skipped: readonly string[];
}

/** Reads config.toml. Throws an Error with a message to show when it is not one. */
export function readGcProfiles(text: string): GcProfiles {
  const result = parseGcToml(text);
  if (!result.ok) throw new Error(result.message);
  const credentials: DraftCredential[] = [];
  const skipped: string[] = [];
  for (const [profile, settings] of result.tables) {
    const name = nameOf(profile);
    const draft = readProfile(name, settings);
    if (typeof draft === 'string') skipped.push(`profile ${quoted(profile)}: ${draft}`);
    else if (refuseName(name) !== undefined || credentials.some((one) => one.name === name)) {
      skipped.push(`profile ${quoted(profile)}: "${name}" cannot be used as a name`);
    } else credentials.push(draft);
  }
  return { credentials, skipped };
}

function readProfile(name: string, settings: ReadonlyMap<string, string>): DraftCredential | string {
  const text = (key: string) => settings.get(key) || null;
  const grant = text('grant_type');
  const clientSecret = text('client_secret');
  const accessToken = text('access_token');
  const clientId = text('client_credentials');
  let grantType = grant === null ? null : GRANTS[grant];
  if (grantType === undefined) return 'its grant_type is none of 0, 1, 2, 3';
  grantType ??= clientSecret !== null && clientId !== null ? 'client_credentials' : accessToken !== null ? 'access_token' : null;
  if (grantType === null) return 'it has neither a client with its secret nor an access token';
  if (grantType !== 'access_token' && clientId === null) return 'it has no client id (client_credentials)';
  if (grantType === 'client_credentials' && clientSecret === null) return 'it has no client_secret';
  return {
    name,
    grantType,
    host: text('environment'),
    clientId: grantType === 'access_token' ? null : clientId,
    clientSecret: grantType === 'client_credentials' ? clientSecret : null,
    accessToken: grantType === 'access_token' ? accessToken : null,
    redirectUri: grantType === 'pkce' || grantType === 'implicit' ? withPort(text('redirect_uri')) : null,
  };
}

/** Port 0 means "any" to the CLI; a redirect URI needs the one it was registered with. */
function withPort(uri: string | null): string | null {
  return uri === null || !URL.canParse(uri) || new URL(uri).port === '0' ? null : uri;
}

function nameOf(profile: string): string {
  const name = profile
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  return name === '' ? 'profile' : name;
}

function quoted(profile: string): string {
  return JSON.stringify(profile.slice(0, 60));
}
