// The options of the process itself: its log records and its store.

import type { Option } from './option.ts';

export const LOGGING_OPTIONS: readonly Option[] = [
  {
    section: 'logging',
    key: 'log_level',
    kind: { type: 'choice', of: ['none', 'error', 'warn', 'info', 'debug', 'trace'] },
    default: 'info',
    reload: 'live',
    doc: 'none, error, warn, info, debug (adds request headers) or trace (adds response headers).',
  },
  {
    section: 'logging',
    key: 'log_format',
    kind: { type: 'choice', of: ['json', 'text'] },
    default: null,
    defaultNote: 'text on a terminal, else json',
    example: 'json',
    reload: 'live',
    doc: 'json (one object a line) or text (for people).',
  },
  {
    section: 'logging',
    key: 'log_to_console',
    kind: { type: 'boolean' },
    default: 'true',
    reload: 'live',
    doc: 'Write records to standard output.',
  },
  {
    section: 'logging',
    key: 'log_file_path',
    kind: { type: 'path', maybeEmpty: true },
    default: null,
    example: '/var/log/genesys-cloud-gateway/gateway.log',
    reload: 'live',
    doc: 'Append records to this file too; reopened on SIGHUP and SIGUSR2, for log rotation.',
    more: 'A pipe must have a reader at the start; what is written while it has none is dropped. A disk is refused.',
  },
  {
    section: 'logging',
    key: 'log_request_body',
    kind: { type: 'boolean' },
    default: 'false',
    reload: 'live',
    doc: 'Add request bodies to the records.',
    more: 'Bodies hold personal data. Tokens and secrets in them are masked.',
  },
  {
    section: 'logging',
    key: 'log_response_body',
    kind: { type: 'boolean' },
    default: 'false',
    reload: 'live',
    doc: 'Add response bodies to the records.',
  },
  {
    section: 'logging',
    key: 'log_body_max_bytes',
    kind: { type: 'integer', max: 16 * 1024 * 1024 },
    default: '65536',
    reload: 'live',
    doc: 'Maximum logged body size in bytes; longer bodies are truncated.',
  },
];

export const STORE_OPTIONS: readonly Option[] = [
  {
    section: 'store',
    key: 'type',
    kind: { type: 'choice', of: ['memory', 'file'] },
    default: null,
    defaultNote: 'file once a grant with a user or a client is configured, else memory',
    example: 'file',
    reload: 'restart',
    doc: 'Where tokens, sessions and refresh tokens are kept: memory, or file (they survive a restart).',
  },
  {
    section: 'store',
    key: 'path',
    kind: { type: 'path' },
    default: null,
    defaultNote:
      '$XDG_STATE_HOME/genesys-cloud-gateway, else ~/.local/state/genesys-cloud-gateway; %LOCALAPPDATA% on Windows',
    example: '/var/lib/genesys-cloud-gateway',
    reload: 'restart',
    doc: 'The folder of the file store.',
  },
  {
    section: 'store',
    key: 'prefix',
    kind: { type: 'text' },
    default: 'gcg',
    reload: 'restart',
    doc: 'What the names of stored entries begin with, so that several gateways can share a store.',
  },
  {
    section: 'store',
    key: 'encryption_key',
    kind: { type: 'text' },
    default: null,
    isSecret: true,
    example: 'GCG_STORE_KEY',
    reload: 'restart',
    doc: 'Encrypts what is stored.',
  },
];
