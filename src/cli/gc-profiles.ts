// Profiles of Genesys' own CLI (`gc`), read from its TOML file for `gcg init --from-gc`.

import { refuseName } from '../config/layers.ts';
import type { DraftCredential } from './config-template.ts';

/** Grant types by their names in the CLI. */
const GRANTS: Readonly<Record<string, DraftCredential['grantType'] | null>> = {
  '0': null,
  '1': 'client_credentials',
  '2': 'implicit',
  '3': 'pkce',
};

/** The profiles that were found. Messages hold names and line numbers, no values. */
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
  grantType ??=
    clientSecret !== null && clientId !== null ? 'client_credentials' : accessToken !== null ? 'access_token' : null;
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

/** A table by its name; keys and values as written, all values as text. */
export type TomlTables = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** The tables of the file, or why it could not be read. */
export type TomlResult =
  | { readonly ok: true; readonly tables: TomlTables }
  | { readonly ok: false; readonly message: string };

const HEADER = /^\[\s*(?:"([^"\\]*)"|'([^']*)'|([\w-]+))\s*\]\s*(?:#.*)?$/;
const SETTING = /^(?:"([^"\\]*)"|'([^']*)'|([\w-]+))\s*=\s*(.*)$/;
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
  '"': '"',
  '\\': '\\',
};

/** Reads the TOML that the CLI writes, no more of the format. Never throws. */
export function parseGcToml(text: string): TomlResult {
  const tables = new Map<string, Map<string, string>>();
  let table: Map<string, string> | null = null;
  let lineNumber = 0;
  for (const rawLine of text.replace(/^\ufeff/, '').split(/\r?\n/)) {
    lineNumber += 1;
    const refuse = (why: string): TomlResult => ({ ok: false, message: `line ${lineNumber}: ${why}` });
    const line = rawLine.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      const header = HEADER.exec(line);
      if (header === null) return refuse('not a plain [table]');
      const name = header[1] ?? header[2] ?? header[3] ?? '';
      if (tables.has(name)) return refuse('this table is there twice');
      table = new Map();
      tables.set(name, table);
      continue;
    }
    const setting = SETTING.exec(line);
    if (setting === null) return refuse('neither a [table] nor key = value');
    const key = setting[1] ?? setting[2] ?? setting[3] ?? '';
    const value = parseValue(setting[4] ?? '');
    if (value === null)
      return refuse(`the value of ${key.replace(/[^\w-]/g, '?')} is not a string, a number or a boolean on one line`);
    // Settings before the first table are the CLI's own.
    if (table?.has(key)) return refuse('this key is there twice');
    table?.set(key, value);
  }
  return { ok: true, tables };
}

function parseValue(text: string): string | null {
  if (text.startsWith('"') && !text.startsWith('"""')) return parseBasicString(text);
  const literal = /^'([^']*)'\s*(?:#.*)?$/.exec(text);
  if (literal !== null) return literal[1] ?? '';
  const bare = /^(true|false|[+-]?\d[\d_]*(?:\.\d+)?)\s*(?:#.*)?$/.exec(text);
  return bare?.[1]?.replaceAll('_', '') ?? null;
}

function parseBasicString(text: string): string | null {
  let out = '';
  for (let at = 1; at < text.length; at += 1) {
    const char = text[at] as string;
    if (char === '"') return /^\s*(?:#.*)?$/.test(text.slice(at + 1)) ? out : null;
    if (char !== '\\') {
      out += char;
      continue;
    }
    at += 1;
    const kind = text[at] ?? '';
    const length = kind === 'u' ? 4 : kind === 'U' ? 8 : 0;
    if (length === 0) {
      const simple = SIMPLE_ESCAPES[kind];
      if (simple === undefined) return null;
      out += simple;
      continue;
    }
    const digits = text.slice(at + 1, at + 1 + length);
    const point = Number.parseInt(digits, 16);
    if (!new RegExp(`^[0-9a-fA-F]{${length}}$`).test(digits) || point > 0x10ffff) return null;
    out += String.fromCodePoint(point);
    at += length;
  }
  return null;
}
