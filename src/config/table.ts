// THE table of options: all sections in the order of the documentation. Parsing, environment names, --set, help,
// config.example.ini, the reference page and the JSON schema come from it.

import type { SecretForm } from './option.ts';
import type { OptionRow, SectionInfo } from './section.ts';
import { client } from './sections/client.ts';
import { credential } from './sections/credential.ts';
import { gateway, general } from './sections/general.ts';
import { inspector } from './sections/inspector.ts';
import { audit, logging } from './sections/process.ts';
import { proxy } from './sections/proxy.ts';
import { server, serverTls } from './sections/server.ts';
import { store } from './sections/store.ts';
import { tracing } from './sections/tracing.ts';
import { rateLimit, reauthentication, retry, timeouts, tls, upstreamHeaders } from './sections/traffic.ts';

/** Every section, in the order of the documentation. `[upstream.headers]` has free keys and therefore no rows. */
export const SECTIONS: readonly SectionInfo[] = [
  general,
  credential,
  server,
  serverTls,
  client,
  logging,
  audit,
  inspector,
  tracing,
  reauthentication,
  proxy,
  tls,
  timeouts,
  retry,
  rateLimit,
  store,
  upstreamHeaders,
  gateway,
];

/** Every option. */
export const OPTIONS: readonly OptionRow[] = SECTIONS.flatMap(({ rows }) => rows);

/** A key as written: the option it belongs to and, for secrets, the form. */
interface KeyMatch {
  readonly option: OptionRow;
  readonly form: SecretForm;
}

/** Every key that can be written, `client_secret_file` and `_env` included, by section. */
const KEYS = new Map<string, ReadonlyMap<string, KeyMatch>>(
  SECTIONS.map(({ name, rows }) => [name, new Map(rows.flatMap(formsOf))]),
);

function formsOf(option: OptionRow): [key: string, KeyMatch][] {
  const { key, isSecret } = option;
  const secretForms: [string, KeyMatch][] = [
    [`${key}_file`, { option, form: 'file' }],
    [`${key}_env`, { option, form: 'env' }],
  ];
  return [[key, { option, form: 'value' }], ...(isSecret ? secretForms : [])];
}

/** The option a key of a section belongs to; undefined when there is none. */
export function findKey(section: string, key: string): KeyMatch | undefined {
  return KEYS.get(section)?.get(key);
}

/** The keys that can be written in a section. */
export function keysOf(section: string): string[] {
  return [...(KEYS.get(section)?.keys() ?? [])];
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
