// THE option table: parsing, environment names, --set, help, config.example.ini, the reference page and the JSON schema
// all come from it. `[upstream.headers]` has free keys and is the only section that is not in it.

import { CLIENT_OPTIONS, CREDENTIAL_OPTIONS } from './identity.ts';
import type { KeyMatch, Option, SectionName } from './option.ts';
import { LOGGING_OPTIONS, STORE_OPTIONS } from './process.ts';
import { GATEWAY_OPTIONS, GENERAL_OPTIONS, SERVER_OPTIONS } from './server.ts';
import { DEADLINE_OPTIONS, PROXY_OPTIONS, REAUTHENTICATION_OPTIONS, TLS_OPTIONS } from './traffic.ts';

/** Every option, in the order of the documentation. */
export const OPTIONS: readonly Option[] = [
  ...GENERAL_OPTIONS,
  ...CREDENTIAL_OPTIONS,
  ...SERVER_OPTIONS,
  ...CLIENT_OPTIONS,
  ...LOGGING_OPTIONS,
  ...REAUTHENTICATION_OPTIONS,
  ...PROXY_OPTIONS,
  ...TLS_OPTIONS,
  ...DEADLINE_OPTIONS,
  ...STORE_OPTIONS,
  ...GATEWAY_OPTIONS,
];

/** What each section is for, in the order of the documentation. */
export const SECTION_DOCS: Readonly<Record<SectionName, string>> = {
  general: 'Region and live reload.',
  credential:
    'A Genesys Cloud identity. [credential] is named "default"; further ones are [credential.NAME], reached as ' +
    '/NAME/api/v2/….',
  server: 'Listeners and what callers may do there.',
  'server.tls': 'TLS on the listeners.',
  client:
    'A caller with rights of its own. Once there is one, anonymous use ends, save where ' +
    'server.anonymous_credentials asks for it.',
  logging: 'Logging.',
  reauthentication: 'Renewal of tokens.',
  proxy: 'The corporate proxy between here and Genesys Cloud: for token calls, API calls and sockets alike.',
  tls: 'Trust and client certificate towards Genesys Cloud. Certificates are always verified.',
  timeouts: 'Timeouts.',
  retry: 'Retries of calls the platform did not serve.',
  rate_limit: "Pacing to the platform's request limits.",
  store: 'Where tokens and sessions are kept.',
  'upstream.headers': 'Headers set on every forwarded call, one a line.',
  gateway: 'Another host in place of the region, as in the SDKs.',
};

/** The sections in the order of the documentation. */
export const SECTION_NAMES = Object.keys(SECTION_DOCS) as readonly SectionName[];

/** Whether a section is repeated under a NAME: `[credential.NAME]`, `[client.NAME]`. */
export function isNamedSection(section: SectionName): section is 'credential' | 'client' {
  return section === 'credential' || section === 'client';
}

/** Every key that can be written, `client_secret_file` and `_env` included, by section. */
const KEYS = new Map<SectionName, Map<string, KeyMatch>>(SECTION_NAMES.map((name) => [name, new Map()]));
for (const option of OPTIONS) {
  const keys = KEYS.get(option.section);
  keys?.set(option.key, { option, form: 'value' });
  if (option.isSecret) {
    keys?.set(`${option.key}_file`, { option, form: 'file' });
    keys?.set(`${option.key}_env`, { option, form: 'env' });
  }
}

/** The option a key of a section belongs to; undefined when there is none. */
export function findKey(section: SectionName, key: string): KeyMatch | undefined {
  return KEYS.get(section)?.get(key);
}

/** The keys that can be written in a section. */
export function keysOf(section: SectionName): string[] {
  return [...(KEYS.get(section)?.keys() ?? [])];
}

/** The options of a section. */
export function optionsOf(section: SectionName): Option[] {
  return OPTIONS.filter((option) => option.section === section);
}

/** The option itself. Throws TypeError for one that is not in the table: a mistake of ours. */
export function optionOf(section: SectionName, key: string): Option {
  const match = findKey(section, key);
  if (match === undefined) throw new TypeError(`no option ${section}.${key}`);
  return match.option;
}

/**
 * Keys that only one or another SDK knows: a file that holds them is valid here, and the keys have no effect.
 * `gateway.path-params` is a whole object in JSON files.
 */
export const SDK_ONLY_KEYS: ReadonlySet<string> = new Set([
  ...[
    'username',
    'password',
    'auth-username',
    'auth-password',
    'auth_username',
    'auth_password',
    'path-params',
    'path_params',
  ].map((key) => `gateway.${key}`),
  ...['auth-username', 'auth-password', 'auth_username', 'auth_password'].map((key) => `proxy.${key}`),
]);
