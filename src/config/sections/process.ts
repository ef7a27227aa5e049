// The sections of the process itself: [logging], its records, and [audit], its trail of changes.

import { METHODS } from 'node:http';
import { boolean, choice, commaList, integer, path, pathOrEmpty } from '../option.ts';
import { didYouMean, quote } from '../problem.ts';
import { Section, type SectionContext, type Values } from '../section.ts';
import { err, ok } from '../values.ts';

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
