// The sections of the way to Genesys Cloud: [reauthentication], [tls], [timeouts], [retry], [rate_limit],
// [upstream.headers].

import { boolean, choice, duration, integer, integerOr, path, secret } from '../option.ts';
import { checkCertificates, checkKey, checkOwnCertificate, checkPemPair } from '../pem-file.ts';
import { type Problem, quote } from '../problem.ts';
import { Section, type SectionContext, type Values } from '../section.ts';
import { HOUR_MS, type RawValue } from '../values.ts';

export const reauthentication = new Section('reauthentication', 'Renewal of tokens.', {
  refresh_access_token: boolean('true', { doc: 'Renew tokens before they expire.' }),
  refresh_token_wait_max: duration('10', {
    maxMs: HOUR_MS,
    doc: 'How long a call waits for a token that is being obtained (seconds).',
  }),
});

export const tls = new Section(
  'tls',
  'Trust and client certificate towards Genesys Cloud. Certificates are always verified.',
  {
    ca_file: path({
      check: checkCertificates,
      example: '/etc/ssl/corporate-ca.pem',
      doc: 'Trust these CAs too (PEM), beside those of the system and of Node.',
    }),
    cert_file: path({
      check: checkOwnCertificate,
      example: '/etc/genesys-cloud-gateway/upstream.crt',
      doc: 'The certificate to show to the region or the gateway before it (PEM).',
    }),
    key_file: path({
      check: checkKey,
      example: '/etc/genesys-cloud-gateway/upstream.key',
      doc: 'Its private key (PEM).',
    }),
    key_passphrase: secret({ example: 'UPSTREAM_KEY_PASSPHRASE', doc: 'The passphrase of the private key.' }),
  },
);

/** Reads `[tls]`. A certificate needs its key, and a key its certificate. */
export function readTls(context: SectionContext): Values<typeof tls> {
  const reader = tls.reader(context);
  const values = reader.values();
  const { certFile, keyFile, keyPassphrase } = values;
  checkPemPair(reader, certFile, keyFile, keyPassphrase);
  if (certFile !== null && keyFile === null) reader.missing('cert_file', 'needs tls.key_file beside it');
  if (keyFile !== null && certFile === null) reader.missing('key_file', 'needs tls.cert_file beside it');
  if (keyPassphrase !== null && keyFile === null) reader.missing('key_passphrase', 'needs tls.key_file beside it');
  return values;
}

export const timeouts = new Section('timeouts', 'Timeouts.', {
  connect: duration('5', {
    minMs: 1,
    maxMs: HOUR_MS,
    doc: 'Opening a connection, the corporate proxy and TLS included.',
  }),
  token: duration('4', { minMs: 1, maxMs: HOUR_MS, doc: 'One attempt to obtain a token.' }),
  headers: duration('60', {
    minMs: 1,
    maxMs: HOUR_MS,
    doc: "From the request, once it has a connection, to the platform's response headers.",
  }),
  body: duration('300', { minMs: 1, maxMs: HOUR_MS, doc: 'Longest pause while a body is being sent or received.' }),
  keep_warm: duration('1h', {
    maxMs: 24 * HOUR_MS,
    doc: 'How long after the last call one connection to each host stays open for the next; 0: not at all.',
    more:
      'It is opened again in the background when the other side ends it. No request is made for it: the platform sees ' +
      'an open connection.',
  }),
  total_wait: duration('15', {
    maxMs: HOUR_MS,
    doc: 'Queue, token wait and retries of one call together.',
    more:
      'The JavaScript SDK gives up after 16 seconds, so keep this below 16. SDKs that repeat a call by themselves wait ' +
      'that long each time: docs/sdk-recipes.md.',
  }),
});

export const retry = new Section(
  'retry',
  'Retries of calls the platform did not serve.',
  {
    retry_max: integer('3', {
      max: 20,
      doc: 'Retries of one call after 429, 502, 503, 504 or a connection error; 0 for none.',
    }),
    retry_wait_min: duration('1', { maxMs: HOUR_MS, doc: 'The shortest wait between two tries (seconds).' }),
    retry_wait_max: duration('5', { maxMs: HOUR_MS, doc: 'The longest wait between two tries (seconds).' }),
  },
  { prefix: 'retry_' },
);

/** Reads `[retry]`. An SDK's file may set only the longest wait, so a default of the other kind gives way. */
export function readRetry(context: SectionContext): Values<typeof retry> {
  const reader = retry.reader(context);
  const { waitMinMs, waitMaxMs } = reader.values('retry_max');
  const isMinSet = reader.isSet('retry_wait_min');
  const isMaxSet = reader.isSet('retry_wait_max');
  if (waitMinMs > waitMaxMs && isMinSet && isMaxSet)
    reader.problem('retry_wait_max', 'is shorter than retry.retry_wait_min');
  return {
    ...reader.values('retry_wait_min', 'retry_wait_max'),
    waitMinMs: isMinSet ? waitMinMs : Math.min(waitMinMs, waitMaxMs),
    waitMaxMs: isMaxSet ? waitMaxMs : Math.max(waitMinMs, waitMaxMs),
  };
}

export const rateLimit = new Section('rate_limit', "Pacing to the platform's request limits.", {
  mode: choice(['enforce', 'report', 'off'], 'enforce', {
    doc: 'enforce: hold calls back before the platform refuses them; report: only log it; off.',
  }),
  requests_per_minute: integerOr('auto', {
    min: 1,
    doc: "The limit of one credential's token: auto asks the platform, or learns it from 429s; a number counts at once.",
    more: 'The platform has other limits as well, which are learnt as they are met: limits.md tells them.',
  }),
  queue_max: integer('1000', {
    max: 1_000_000,
    doc: 'How many calls may wait, for a limit or for a connection; further ones get 429 at once.',
  }),
  connections: integer('256', {
    min: 1,
    max: 10_000,
    doc: 'How many calls may be under way to one host at a time, whatever the mode.',
    more:
      'Given out by client, then by credential, within timeouts.total_wait. One client may hold eight times as ' +
      'many as are free, one credential of it four times as many: one alone can have 205 of 256. Calls that their ' +
      'own callers hold up (a slow upload, an answer that is not read) may be as many again.',
  }),
});

/** `[upstream.headers]`. Its keys are names of headers, so it declares none. */
export const upstreamHeaders = new Section('upstream.headers', 'Headers set on every forwarded call, one a line.', {});

/** One line of `[upstream.headers]`. */
export interface HeaderSetting {
  readonly name: string;
  readonly value: RawValue;
  readonly location: string;
}

/** Headers the gateway sets or removes itself: other values would break calls or send the token elsewhere. */
const OWN_HEADERS = new Set([
  ...['authorization', 'cookie', 'host', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect'],
  ...['content-length', 'content-type', 'content-encoding', 'transfer-encoding', 'forwarded'],
]);
const OWN_PREFIXES = ['x-forwarded-', 'x-gateway-', 'proxy-', 'sec-websocket-'];

function isOwnHeader(name: string): boolean {
  const bare = name.toLowerCase().replaceAll('_', '-');
  return OWN_HEADERS.has(bare) || OWN_PREFIXES.some((prefix) => bare.startsWith(prefix));
}

/** Reads `[upstream.headers]`: pairs of name and value, as written. */
export function readUpstreamHeaders(
  settings: readonly HeaderSetting[],
  problems: Problem[],
): (readonly [name: string, value: string])[] {
  const headers: (readonly [string, string])[] = [];
  for (const { name, value, location } of settings) {
    const fail = (message: string) =>
      problems.push({ location, key: 'upstream.headers', message: `${quote(name)} ${message}` });
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(name))
      fail('is not a header name; letters, digits and hyphens only');
    else if (isOwnHeader(name)) fail('is set or removed by the gateway itself; it cannot be given here');
    else if (value.type === 'broken') continue;
    else if (value.type === 'list') fail('is a list; give one value');
    else if (!/^[\t\x20-\x7e\x80-\xff]{0,8192}$/.test(value.text))
      fail('has a value with characters that a header cannot hold');
    else headers.push([name, value.text]);
  }
  return headers;
}
