// Reads the sections of the way to Genesys Cloud: renewal, proxy, tls, timeouts, retry, rate_limit, upstream.headers;
// and logging.

import { FileRefusal, readPlainFileSync, whyNotRead } from '../../fs/plain-file.ts';
import { inlineSecret } from '../../secret.ts';
import type { GatewayConfig } from '../gateway-config.ts';
import { parseNoProxy } from '../no-proxy.ts';
import { checkPemFile, checkPemPair } from '../pem-file.ts';
import { quote } from '../problem.ts';
import type { ReaderContext, SectionReader } from '../reader.ts';
import { LARGEST_SCRIPT_BYTES, parseProxyUrl, proxyUrlOf } from './proxy.ts';

/** `[logging]`; `isTTY` decides the default format. */
export function readLogging(logging: SectionReader, isTTY: boolean): GatewayConfig['logging'] {
  return {
    level: logging.choice('log_level', ['none', 'error', 'warn', 'info', 'debug', 'trace']) ?? 'info',
    format: logging.choice('log_format', ['json', 'text']) ?? (isTTY ? 'text' : 'json'),
    toConsole: logging.boolean('log_to_console'),
    filePath: logging.path('log_file_path'),
    requestBody: logging.boolean('log_request_body'),
    responseBody: logging.boolean('log_response_body'),
    bodyMaxBytes: logging.integer('log_body_max_bytes'),
  };
}

/** `[proxy]`: url, or host, port and protocol; of two, the one from the higher source counts. */
export function readProxy(proxy: SectionReader): GatewayConfig['proxy'] {
  const off = proxy.boolean('off');
  const noProxy = hostList(proxy, 'no_proxy');
  const credentialHosts = hostList(proxy, 'credential_hosts');
  const username = proxy.text('username');
  const password = proxy.secret('password');
  const text = proxy.text('url');
  const host = proxy.text('host');
  const port = proxy.maybeInteger('port');
  const protocol = proxy.choice('protocol', ['http', 'https', 'socks4', 'socks4a', 'socks5', 'socks5h']);

  const urlLayer = text === null ? undefined : proxy.setting('url')?.layer;
  const hostLayer = host === null ? undefined : proxy.setting('host')?.layer;
  if (urlLayer !== undefined && urlLayer === hostLayer)
    proxy.problem('host', `and proxy.url (${proxy.location('url')}) say the same thing; keep one of the two`);
  const usesUrl = text !== null && (urlLayer ?? 0) <= (hostLayer ?? Number.POSITIVE_INFINITY);
  const parsed = usesUrl ? parseProxyUrl(text) : host !== null ? proxyUrlOf(host, port, protocol) : null;
  if (parsed === null) {
    const orphan = ['port', 'protocol'].find((key) => proxy.isSet(key));
    if (orphan !== undefined) proxy.missing(orphan, 'needs proxy.host beside it');
    return { url: null, username, password, credentialHosts, noProxy, off };
  }
  const key = usesUrl ? 'url' : 'host';
  if (!parsed.ok) {
    proxy.problem(key, parsed.message);
    return { url: null, username, password, credentialHosts, noProxy, off };
  }
  const { url, username: urlUsername, password: urlPassword } = parsed.value;
  const unusable = refuseScriptFile(url);
  if (unusable !== null) proxy.problem(key, unusable);
  if (urlUsername !== null && username !== null)
    proxy.problem('username', 'is given in proxy.url already; keep one of the two');
  if (urlPassword !== null && password !== null)
    proxy.problem('password', 'is given in proxy.url already; keep one of the two');
  const givenPassword = password ?? (urlPassword === null ? null : inlineSecret(urlPassword, proxy.location(key)));
  if (givenPassword !== null && (urlUsername ?? username) === null)
    proxy.missing('password', 'needs proxy.username beside it');
  if (url.startsWith('pac+http:') && givenPassword !== null && credentialHosts.length === 0) {
    proxy.warning(
      key,
      'comes over plain http, where anybody on the way may name a proxy: it is used, but the password is shown to ' +
        'no proxy; use pac+https or pac+file, or list the proxies in proxy.credential_hosts',
    );
  }
  return { url, username: urlUsername ?? username, password: givenPassword, credentialHosts, noProxy, off };
}

/** A list of names, suffixes, addresses and ranges. */
function hostList(proxy: SectionReader, key: string): readonly string[] {
  const entries = proxy.list(key);
  for (const entry of parseNoProxy(entries).unusable) {
    proxy.problem(
      key,
      `${quote(entry)} can match nothing; write a name, a suffix as in .example.com, an address, or a range as in ` +
        '10.0.0.0/8',
    );
  }
  return entries;
}

/**
 * What is no plain file can never be used as a PAC file. One that is missing may be there when it is needed: that is
 * told then.
 */
function refuseScriptFile(url: string): string | null {
  if (!url.startsWith('pac+file:')) return null;
  const file = new URL(url.slice('pac+'.length));
  try {
    readPlainFileSync(file, LARGEST_SCRIPT_BYTES);
    return null;
  } catch (error) {
    return error instanceof FileRefusal ? `${file.pathname} ${whyNotRead(error)}` : null;
  }
}

/** `[tls]`. */
export function readTls(tls: SectionReader, context: ReaderContext): GatewayConfig['tls'] {
  const caFile = checkPemFile(tls, 'ca_file', 'certificates', context);
  const certFile = checkPemFile(tls, 'cert_file', 'certificates', context);
  const keyFile = checkPemFile(tls, 'key_file', 'key', context);
  const keyPassphrase = tls.secret('key_passphrase');
  checkPemPair(tls, certFile, keyFile, keyPassphrase);
  if (certFile !== null && keyFile === null) tls.missing('cert_file', 'needs tls.key_file beside it');
  if (keyFile !== null && certFile === null) tls.missing('key_file', 'needs tls.cert_file beside it');
  if (keyPassphrase !== null && keyFile === null) tls.missing('key_passphrase', 'needs tls.key_file beside it');
  return { caFile, certFile, keyFile, keyPassphrase };
}

/** `[timeouts]`. */
export function readTimeouts(timeouts: SectionReader): GatewayConfig['timeouts'] {
  return {
    connectMs: timeouts.durationMs('connect'),
    tokenMs: timeouts.durationMs('token'),
    headersMs: timeouts.durationMs('headers'),
    bodyMs: timeouts.durationMs('body'),
    totalWaitMs: timeouts.durationMs('total_wait'),
  };
}

/** `[retry]`. An SDK's file may set only the longest wait, so a default of the other kind gives way. */
export function readRetry(retry: SectionReader): GatewayConfig['retry'] {
  const waitMinMs = retry.durationMs('retry_wait_min');
  const waitMaxMs = retry.durationMs('retry_wait_max');
  const areBothSet = retry.isSet('retry_wait_min') && retry.isSet('retry_wait_max');
  if (waitMinMs > waitMaxMs && areBothSet) retry.problem('retry_wait_max', 'is shorter than retry.retry_wait_min');
  return {
    max: retry.integer('retry_max'),
    waitMinMs: retry.isSet('retry_wait_min') ? waitMinMs : Math.min(waitMinMs, waitMaxMs),
    waitMaxMs: retry.isSet('retry_wait_max') ? waitMaxMs : Math.max(waitMinMs, waitMaxMs),
  };
}

/** `[rate_limit]`. */
export function readRateLimit(rateLimit: SectionReader): GatewayConfig['rateLimit'] {
  return {
    mode: rateLimit.choice('mode', ['enforce', 'report', 'off']) ?? 'enforce',
    requestsPerMinute: rateLimit.integerOr('requests_per_minute', 'auto'),
    queueMax: rateLimit.integer('queue_max'),
    connections: rateLimit.integer('connections'),
  };
}

/** Headers the gateway sets or removes itself; fixing them here would break calls or show the token elsewhere. */
const OWN_HEADERS =
  /^(authorization|cookie|host|connection|keep-alive|content-length|content-type|content-encoding|transfer-encoding|te|trailer|upgrade|expect|forwarded|x-forwarded-.*|x-gateway-.*|proxy-.*|sec-websocket-.*)$/;

/** `[upstream.headers]`. */
export function readUpstreamHeaders({ settings, problems }: ReaderContext): GatewayConfig['upstreamHeaders'] {
  const headers: (readonly [string, string])[] = [];
  for (const { name, value, location } of settings.headers) {
    const fail = (message: string) =>
      problems.push({ location, key: 'upstream.headers', message: `${quote(name)} ${message}` });
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(name))
      fail('is not a header name; letters, digits and hyphens only');
    else if (OWN_HEADERS.test(name.toLowerCase().replaceAll('_', '-')))
      fail('is set or removed by the gateway itself; it cannot be given here');
    else if (value.type === 'broken') continue;
    else if (value.type === 'list') fail('is a list; give one value');
    else if (!/^[\t\x20-\x7e\x80-\xff]{0,8192}$/.test(value.text))
      fail('has a value with characters that a header cannot hold');
    else headers.push([name, value.text]);
  }
  return headers;
}
