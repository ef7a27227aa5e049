// What undici, Node, DNS and TLS report about a failed call, as GatewayErrors that say what to change. Third-party
// errors end here: the cause that is kept carries a code and nothing else. What proxies report is told elsewhere.

import type { DetailedPeerCertificate } from 'node:tls';
import { type ErrorCode, GatewayError, type GatewayErrorOptions, isGatewayError } from '../errors.ts';
import { authority, type Endpoint } from './egress/proxy-route.ts';

/**
 * A failed attempt at the upstream. `wasSent`: some of the request may have reached it, so that only a safe method may
 * be tried again.
 */
export class UpstreamError extends GatewayError {
  readonly wasSent: boolean;
  /** It was a connection kept from before that ended, and not the upstream that failed. */
  readonly isStale: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    { wasSent, isStale = false, ...options }: GatewayErrorOptions & { wasSent: boolean; isStale?: boolean },
  ) {
    super(code, message, options);
    this.wasSent = wasSent;
    this.isStale = isStale;
  }
}

/** The client closed its connection before the call was answered (499 in nginx's logs): nobody is there to be told. */
export class ClientClosedRequest extends UpstreamError {
  constructor({ wasSent = false } = {}) {
    super('gateway.request.invalid', 'the client closed the connection', { statusCode: 499, wasSent });
  }
}

/**
 * How an attempt ends, unsent, whose token ended while it waited for a connection. The layer of tokens takes another.
 */
export const TOKEN_ENDED = new UpstreamError(
  'gateway.credential.unavailable',
  'the token ended while the call waited for a connection: try again',
  {
    wasSent: false,
  },
);

/** The system's code of a failure; undefined where there is none. */
export function causeCode(error: GatewayError): string | undefined {
  return (error.cause as NodeJS.ErrnoException | undefined)?.code;
}

/** The system's code of a failed attempt where there is one, else ours. */
export function failureReason(error: GatewayError): string {
  return causeCode(error) ?? error.code;
}

/** Failure codes of the connection, after it stood. */
const CODES: Record<string, ErrorCode> = {
  UND_ERR_SOCKET: 'gateway.upstream.unreachable',
  UND_ERR_CONNECT_TIMEOUT: 'gateway.upstream.timeout',
  UND_ERR_HEADERS_TIMEOUT: 'gateway.upstream.timeout',
  UND_ERR_BODY_TIMEOUT: 'gateway.upstream.timeout',
  UND_ERR_HEADERS_OVERFLOW: 'gateway.upstream.invalid',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'gateway.upstream.invalid',
  UND_ERR_RES_EXCEEDED_MAX_SIZE: 'gateway.upstream.invalid',
  UND_ERR_DESTROYED: 'gateway.draining',
  UND_ERR_CLOSED: 'gateway.draining',
  UND_ERR_INVALID_ARG: 'gateway.request.invalid',
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: 'gateway.request.invalid',
  GCG_RESET: 'gateway.upstream.unreachable',
  ECONNRESET: 'gateway.upstream.unreachable',
  ECONNREFUSED: 'gateway.upstream.unreachable',
  ENOTFOUND: 'gateway.upstream.unreachable',
  EAI_AGAIN: 'gateway.upstream.unreachable',
  EHOSTUNREACH: 'gateway.upstream.unreachable',
  ENETUNREACH: 'gateway.upstream.unreachable',
  EPIPE: 'gateway.upstream.unreachable',
  ETIMEDOUT: 'gateway.upstream.timeout',
};

/** What each code says to a person; `host` is the upstream's, never the caller's. */
const MESSAGES: Partial<Record<ErrorCode, (host: string, code: string) => string>> = {
  'gateway.upstream.unreachable': (host, code) =>
    `the connection to ${host} broke (${code}): try again; \`gcg doctor\` tests the way there`,
  'gateway.upstream.timeout': (host) =>
    `${host} did not answer in time: try again, or raise timeouts.headers or timeouts.body`,
  'gateway.upstream.invalid': (host, code) =>
    `${host} answered with something that is not valid HTTP (${code}): is it the right host?`,
  'gateway.draining': () => 'the gateway is shutting down: try again',
  'gateway.request.invalid': (_host, code) =>
    `the request cannot be sent on as it is (${code}): check its headers, target and Content-Length`,
};

/**
 * Maps any failure of an exchange with `host` to a GatewayError; of the original only its code is kept, as it may carry
 * parts of a response.
 */
export function toGatewayError(error: unknown, host: string): GatewayError {
  if (isGatewayError(error)) return error;
  const rawCode = (error as { code?: unknown } | null)?.code;
  const code = typeof rawCode === 'string' ? rawCode : error instanceof Error ? error.name : 'unknown';
  const secured = protocolHint(error, code, host);
  if (secured !== undefined)
    return new GatewayError(
      code === 'UND_ERR_SOCKET' ? 'gateway.upstream.unreachable' : 'gateway.upstream.invalid',
      secured,
      { cause: bareCause(code) },
    );
  const mapped = isInvalidResponse(error, code) ? 'gateway.upstream.invalid' : CODES[code];
  const tlsProblem = handshakeProblem(code);
  if (tlsProblem)
    return new GatewayError('gateway.upstream.tls', `the TLS connection to ${host} broke: ${tlsProblem}`, {
      cause: bareCause(code),
    });
  // Our name for a reset has its meaning in here alone.
  const shown = code === 'GCG_RESET' ? 'ECONNRESET' : code;
  if (mapped) return new GatewayError(mapped, MESSAGES[mapped]?.(host, shown) ?? shown, { cause: bareCause(code) });
  return new GatewayError(
    'gateway.internal',
    'the call failed in the gateway itself: please report it with the request id',
  );
}

/** The first octets of a TLS alert (RFC 8446, section 5.1): what a TLS server says to plain http, if it says anything. */
const TLS_ALERT = '\x15\x03';

/**
 * What is said where plain http met a server that speaks TLS, or may do so: it sent an alert, or hung up. `host` is an
 * origin. Undefined where nothing hints at that.
 */
function protocolHint(error: unknown, code: string, host: string): string | undefined {
  const { data, message } = (error ?? {}) as { data?: unknown; message?: unknown };
  if (typeof data === 'string' && data.startsWith(TLS_ALERT))
    return `${host} speaks TLS, and was asked in plain http: write protocol = https in [gateway]`;
  if (!host.startsWith('http:') || code !== 'UND_ERR_SOCKET' || message !== 'other side closed') return undefined;
  return (
    `${host} ended the connection (${code}): try again; if it speaks TLS, write protocol = https in [gateway]; ` +
    '`gcg doctor` tests the way there'
  );
}

/**
 * What undici's parser refuses: named by its class, as its code gets lost on the way (7.30). And a response that no
 * request asked for, a 100 or a 101 among them: undici drops the connection, and says why in words only.
 */
function isInvalidResponse(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  // Node's own parser, which reads the handshakes of sockets, has codes. undici's client asserts what it expects of its
  // parser's responses: a 101 without an Upgrade header, for one.
  if (code.startsWith('HPE_') || code === 'ERR_ASSERTION') return true;
  return (
    error.name === 'HTTPParserError' || (code === 'UND_ERR_SOCKET' && /^bad (response|upgrade)$/.test(error.message))
  );
}

const NAME_ERRORS = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_NODATA', 'EAI_FAIL', 'EAI_NONAME', 'ENODATA']);

/** Whether DNS gave no address. */
export function isNameError(error: Error): boolean {
  return NAME_ERRORS.has(errorCode(error));
}

/** OpenSSL's verdicts that a further authority in `tls.ca_file` would change. */
const UNTRUSTED = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_UNTRUSTED',
]);

/** The remaining verdicts on a chain, which no setting of ours mends. */
const BAD_CERTIFICATE = /^(CERT_|CRL_|INVALID_(CA|PURPOSE)|PATH_LENGTH|HOSTNAME_MISMATCH|UNABLE_TO_)/;

/** Whether it is a verdict on a chain, which other authorities might change. */
export function isChainVerdict(code: string): boolean {
  return UNTRUSTED.has(code) || BAD_CERTIFICATE.test(code);
}

/**
 * The error of a dial that reached, or directly tried to reach, the endpoint. `leaf` is the certificate it showed, if
 * any.
 */
export function upstreamError(error: Error, endpoint: Endpoint, leaf?: DetailedPeerCertificate): GatewayError {
  const code = errorCode(error);
  const where = authority(endpoint.host, endpoint.port);
  const fail = (errorCode: ErrorCode, message: string) =>
    new GatewayError(errorCode, message, { cause: bareCause(code) });
  if (NAME_ERRORS.has(code)) {
    return fail(
      'gateway.upstream.unreachable',
      `the name ${endpoint.host} cannot be resolved (${code}): check ${hostSetting(endpoint.host)} and this machine's ` +
        'DNS; where only a proxy may leave, set proxy.url',
    );
  }
  if (code === 'ETIMEDOUT') return fail('gateway.upstream.timeout', `${where} did not accept the connection (${code})`);
  const problem = certificateProblem(code, leaf) ?? handshakeProblem(code);
  if (problem) return fail('gateway.upstream.tls', `the TLS connection to ${where} is refused: ${problem}`);
  return fail('gateway.upstream.unreachable', `${where} cannot be reached (${code}): ${reachHint(code)}`);
}

/** The setting that a host comes from: those of a region have these names, and other hosts are named by themselves. */
export function hostSetting(host: string): string {
  return /^(api|login|streaming)\./.test(host) ? 'general.host (or gateway.host, where that is set)' : 'gateway.host';
}

/** What is wrong with a certificate, with what to change; undefined when the code is not about certificates. */
export function certificateProblem(code: string, leaf?: DetailedPeerCertificate): string | undefined {
  const issuer = leaf ? `issuer ${issuerName(leaf)}` : 'issuer unknown';
  if (UNTRUSTED.has(code)) {
    return (
      `its certificate is not trusted (${code}); ${issuer}: add it to tls.ca_file, if it is to be trusted (the CA of ` +
      'a corporate proxy that inspects TLS, for instance)'
    );
  }
  if (code === 'CERT_HAS_EXPIRED') {
    return (
      `a certificate of its chain has expired (its own is valid to ${leaf?.valid_to ?? 'unknown'}); ${issuer}: it ` +
      `must be renewed there; check this machine's clock too`
    );
  }
  if (code === 'CERT_NOT_YET_VALID') {
    return (
      `its certificate is not valid yet (from ${leaf?.valid_from ?? 'unknown'}); ${issuer}: check this machine's ` +
      'clock'
    );
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return (
      `its certificate is for other names (${printable(leaf?.subjectaltname ?? 'none')}); ${issuer}: check the ` +
      'host name, and whether something answers in its place'
    );
  }
  return BAD_CERTIFICATE.test(code) ? `its certificate is not acceptable (${code}); ${issuer}` : undefined;
}

/** What to write where TLS was spoken to a server, or to a proxy, that speaks plain http. */
const PLAIN_HTTP = {
  upstream: 'write protocol = http in [gateway] if it is to be plain http, else check host and port',
  proxy: 'write http:// in proxy.url, or check its port',
} as const;

/** The same for a handshake that failed before or beside certificates. */
export function handshakeProblem(code: string, place: keyof typeof PLAIN_HTTP = 'upstream'): string | undefined {
  if (!code.startsWith('ERR_SSL_') && code !== 'EPROTO') return undefined;
  if (/ALERT_(?:(?:BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_(?:EXPIRED|REVOKED|UNKNOWN)|UNKNOWN_CA)/.test(code)) {
    return (
      `the other side does not accept our client certificate (${code}): renew tls.cert_file and tls.key_file, or ` +
      'ask there which it wants'
    );
  }
  if (/CERTIFICATE_REQUIRED|ALERT_HANDSHAKE_FAILURE/.test(code)) {
    return (
      `the other side refused our handshake (${code}): if it wants a client certificate, set tls.cert_file and ` +
      'tls.key_file'
    );
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(code))
    return `the other side does not speak TLS there (${code}): ${PLAIN_HTTP[place]}`;
  return `the handshake failed (${code})`;
}

/**
 * The code of a socket's error; of the first attempt where several addresses were tried. Of a failed write in a
 * handshake Node keeps OpenSSL's reason in words only.
 */
export function errorCode(error: Error): string {
  const { code, errors } = error as NodeJS.ErrnoException & { errors?: unknown[] };
  const reason = code === 'EPROTO' ? /:SSL routines:[^:]*:([a-z0-9 /]+):/i.exec(error.message)?.[1] : undefined;
  if (reason !== undefined) return `ERR_SSL_${reason.toUpperCase().replaceAll(/[^A-Z0-9]+/g, '_')}`;
  if (typeof code === 'string') return code;
  const first = Array.isArray(errors) ? errors[0] : undefined;
  return first instanceof Error ? errorCode(first) : 'unknown';
}

/** An error that carries the code of another one, and none of its properties. */
export function bareCause(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** What to look at when a connection fails with `code`. */
export function reachHint(code: string): string {
  if (code === 'ECONNREFUSED') return 'nothing listens there, or a firewall rejects it';
  if (code === 'ECONNRESET' || code === 'EPIPE')
    return 'the connection was dropped; a firewall or an interception device may do this';
  if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH' || code === 'EADDRNOTAVAIL')
    return 'this machine has no route to it; perhaps only a proxy may leave';
  return 'check the network, and whether a proxy has to be used';
}

/** The issuer at the top of the chain the peer sent: the authority that would have to be trusted. */
function issuerName(leaf: DetailedPeerCertificate): string {
  let top = leaf;
  for (
    let depth = 0;
    depth < 10 && top.issuerCertificate && top.issuerCertificate.fingerprint256 !== top.fingerprint256;
    depth += 1
  ) {
    top = top.issuerCertificate;
  }
  const { CN, O } = top.issuer ?? {};
  const name = CN ?? O;
  return name ? `${CN ? 'CN' : 'O'}=${printable([name].flat().join(' '))}` : 'without a name';
}

/** Text of a peer's certificate, made fit for one line of a message. */
function printable(text: string): string {
  const line = text.replace(/[^\x20-\x7e\u00a0-\uffff]+/g, ' ').trim();
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}
