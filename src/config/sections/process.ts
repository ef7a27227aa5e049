// The sections of the process itself: [logging], its records, [audit], its trail of changes, and [store], what survives a
// restart.

import { METHODS } from 'node:http';
import { pathsOf } from '../file.ts';
import { boolean, choice, commaList, integer, path, pathOrEmpty, secret, text } from '../option.ts';
import { didYouMean, quote } from '../problem.ts';
import { Section, type SectionContext, type Values } from '../section.ts';
import { err, ok } from '../values.ts';
import type { ClientConfig } from './client.ts';
import { type CredentialConfig, USER_GRANTS } from './credential.ts';

export const logging = new Section(
  'logging',
  'Logging.',
  {
    log_level: choice(['none', 'error', 'warn', 'info', 'debug', 'trace'], 'info', {
      doc: 'none, error, warn, info, debug (adds request headers) or trace (adds response headers).',
      more: 'Failed calls (status 400 and above) are written at every level but none, each with its own.',
    }),
    log_format: choice(['json', 'text'], null, {
      defaultNote: 'text on a terminal, else json',
      example: 'json',
      doc: 'json (one object a line) or text (for people).',
    }),
    log_to_console: boolean('true', { doc: 'Write records to standard output.' }),
    log_file_path: pathOrEmpty({
      example: '/var/log/genesys-cloud-gateway/gateway.log',
      doc: 'Append records to this file too; reopened on SIGHUP and SIGUSR2, for log rotation.',
      more: 'A pipe must have a reader at the start; what is written while it has none is dropped. A disk is refused.',
    }),
    log_request_body: boolean('false', {
      doc: 'Add request bodies to the records.',
      more: 'Bodies hold personal data. Tokens and secrets in them are masked.',
    }),
    log_response_body: boolean('false', { doc: 'Add response bodies to the records.' }),
    log_body_max_bytes: integer('65536', {
      max: 16 * 1024 * 1024,
      doc: 'Maximum logged body size in bytes; longer bodies are truncated.',
    }),
  },
  { prefix: 'log_' },
);

/** `[logging]`. */
export type LoggingConfig = Values<typeof logging> & { readonly format: 'json' | 'text' };
export type LogLevel = LoggingConfig['level'];

/** Reads `[logging]`; `isTTY` decides the default format. */
export function readLogging(context: SectionContext, isTTY: boolean): LoggingConfig {
  const values = logging.read(context);
  return { ...values, format: values.format ?? (isTTY ? 'text' : 'json') };
}

export const audit = new Section(
  'audit',
  'A tamper-evident trail of the calls that may change something (docs/audit.md).',
  {
    file: path({
      example: '/var/log/genesys-cloud-gateway/audit.jsonl',
      reload: 'restart',
      doc: 'The file of the trail; without one there is none. Mode 0600, reopened on SIGHUP and SIGUSR2.',
      more: 'Each line names the hash of the line before; `gcg audit verify FILE` finds what was changed or taken out.',
    }),
    methods: commaList(null, {
      item: (method) =>
        METHODS.includes(method.toUpperCase())
          ? ok(method.toUpperCase())
          : err(`${quote(method)} is not a method${didYouMean(method.toUpperCase(), METHODS)}`),
      whenEmpty: 'name a method or leave the key out',
      defaultNote: 'all but GET, HEAD and OPTIONS',
      example: 'POST, PUT, PATCH, DELETE',
      doc: 'Calls of these methods are in the trail.',
    }),
    sync: boolean('false', {
      reload: 'restart',
      doc: 'Each line is on the disk before the response goes to the caller: costs each such call a wait for the disk.',
    }),
    on_failure: choice(['refuse', 'continue'], 'refuse', {
      doc: 'While the trail cannot be written: refuse (such calls get 503 and are not sent) or continue (without a line).',
    }),
  },
);

/** `[audit]`. Without `methods`: all but GET, HEAD and OPTIONS. */
export type AuditConfig = Values<typeof audit>;

/** Reads `[audit]`; `log` is what must not be the same file. */
export function readAudit(context: SectionContext, log: LoggingConfig): AuditConfig {
  const reader = audit.reader(context);
  const values = reader.values();
  if (values.file !== null && values.file === log.filePath)
    reader.problem('file', 'is also logging.log_file_path; give the trail a file of its own');
  return values;
}

export const store = new Section('store', 'Where tokens and sessions are kept.', {
  type: choice(['memory', 'file'], null, {
    defaultNote: 'file once a grant with a user or a client is configured, else memory',
    example: 'file',
    reload: 'restart',
    doc: 'Where tokens, sessions and refresh tokens are kept: memory, or file (they survive a restart).',
  }),
  path: path({
    defaultNote:
      '$XDG_STATE_HOME/genesys-cloud-gateway, else ~/.local/state/genesys-cloud-gateway; %LOCALAPPDATA% on Windows',
    example: '/var/lib/genesys-cloud-gateway',
    reload: 'restart',
    doc: 'The folder of the file store.',
  }),
  prefix: text('gcg', {
    parse: (prefix) =>
      /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(prefix)
        ? ok(prefix)
        : err('may hold letters, digits, hyphens and underscores only'),
    reload: 'restart',
    doc: 'What the names of stored entries begin with, so that several gateways can share a store.',
  }),
  encryption_key: secret({ example: 'GCG_STORE_KEY', reload: 'restart', doc: 'Encrypts what is stored.' }),
});

/** `[store]`. The path is `''` only for a memory store on a machine without a home folder. */
export type StoreConfig = Values<typeof store> & { readonly type: 'memory' | 'file'; readonly path: string };

/** Reads `[store]`. */
export function readStore(
  context: SectionContext,
  credentials: readonly CredentialConfig[],
  clients: readonly ClientConfig[],
): StoreConfig {
  const reader = store.reader(context);
  // What a person logged in for, and what applications hold and cannot ask for again, must outlive the process.
  const wantsFile = clients.length > 0 || credentials.some(({ grantType }) => USER_GRANTS.has(grantType));
  const type = reader.get('type') ?? (wantsFile ? 'file' : 'memory');
  const prefix = reader.get('prefix');
  const path = reader.get('path') ?? defaultStateFolder(context);
  if (path === undefined && type === 'file') {
    reader.problem(
      'path',
      'is missing; there is no home folder here, so say where tokens may be kept, or set type = memory',
    );
  }
  return { type, path: path ?? '', prefix, ...reader.values('type', 'path', 'prefix') };
}

const FOLDER = 'genesys-cloud-gateway';

/** `$XDG_STATE_HOME` or `~/.local/state`, `%LOCALAPPDATA%` on Windows; undefined without any of them. */
export function defaultStateFolder({
  env,
  home,
  platform,
}: Pick<SectionContext, 'env' | 'home' | 'platform'>): string | undefined {
  const paths = pathsOf(platform);
  const xdg = env.XDG_STATE_HOME;
  if (xdg !== undefined && paths.isAbsolute(xdg)) return paths.join(xdg, FOLDER);
  if (platform === 'win32') {
    const local = env.LOCALAPPDATA || (home === undefined ? undefined : paths.join(home, 'AppData', 'Local'));
    return local === undefined ? undefined : paths.join(local, FOLDER);
  }
  return home === undefined ? undefined : paths.join(home, '.local', 'state', FOLDER);
}
