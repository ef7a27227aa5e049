// Turns what goes wrong between us and a corporate proxy into GatewayErrors that name the proxy and the setting to
// change. Nothing here shows credentials, and nothing a proxy says is passed on as Genesys' response.

import type { DetailedPeerCertificate } from 'node:tls';
import { type ErrorCode, GatewayError } from '../../errors.ts';
import { bareCause, certificateProblem, errorCode, handshakeProblem, hostSetting, reachHint } from '../errors.ts';
import { authority, type Endpoint, type ForwardProxy, routeName } from './proxy-route.ts';

/** The code of a connection that was ended because a proxy's response to CONNECT had no end. */
export const RESPONSE_TOO_LONG = 'PROXY_ANSWER_TOO_LONG';
/** Of a longer challenge the beginning is read. */
const LONGEST_CHALLENGE = 1024;

/**
 * A proxy that could not be reached, or dropped the connection before it answered. `leaf` is the certificate it showed,
 * if any.
 */
export function proxyConnectError(error: Error, proxy: ForwardProxy, leaf?: DetailedPeerCertificate): GatewayError {
  const code = errorCode(error);
  const name = routeName(proxy);
  const fail = (errorCode: ErrorCode, message: string) =>
    new GatewayError(errorCode, message, { cause: bareCause(code) });
  if ((error as NodeJS.ErrnoException).syscall === 'getaddrinfo') {
    return fail(
      'gateway.proxy.refused',
      `the name of the proxy ${name} cannot be resolved (${code}): check proxy.url and DNS`,
    );
  }
  if (code === 'ETIMEDOUT')
    return fail('gateway.proxy.timeout', `the proxy ${name} did not accept the connection (${code}): check proxy.url`);
  // Our client certificate is for the upstream: a proxy is shown none, so the advice for the upstream would not help.
  const wantsCertificate = /ALERT_CERTIFICATE_REQUIRED|ALERT_HANDSHAKE_FAILURE/.test(code);
  const problem = wantsCertificate
    ? `it refused our handshake (${code}); if it wants a client certificate, that is not supported`
    : (certificateProblem(code, leaf) ?? handshakeProblem(code));
  if (problem)
    return fail('gateway.proxy.refused', `the TLS connection to the proxy ${name} itself is refused: ${problem}`);
  if (code === RESPONSE_TOO_LONG)
    return fail('gateway.proxy.refused', `the answer of the proxy ${name} to CONNECT is too long: check proxy.url`);
  if (code === 'unknown')
    return fail(
      'gateway.proxy.refused',
      `the proxy ${name} dropped the connection without an answer, or answered with something that is not HTTP: ` +
        'check proxy.url',
    );
  return fail(
    'gateway.proxy.refused',
    `the proxy ${name} cannot be reached (${code}): ${reachHint(code)}; check proxy.url`,
  );
}

/** An HTTP proxy's response to CONNECT, as far as errors concern themselves with it. Header lines one by one. */
interface ProxyResponse {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>;
}

/** Whether a proxy wants Basic credentials to be shown. A 407 that names no scheme at all is taken for that. */
export function asksForBasic({ statusCode, headers }: ProxyResponse): boolean {
  const schemes = offeredSchemes(headers);
  return statusCode === 407 && (schemes.length === 0 || schemes.includes('basic'));
}

/** What an HTTP proxy answered to CONNECT, when it opened no tunnel. */
export function connectRefusal(
  { statusCode, headers }: ProxyResponse,
  { proxy, endpoint, hadCredentials }: { proxy: ForwardProxy; endpoint: Endpoint; hadCredentials: boolean },
): GatewayError {
  const name = routeName(proxy);
  const where = authority(endpoint.host, endpoint.port);
  // tinyproxy answers 401 to a wrong password.
  if (statusCode === 407 || statusCode === 401)
    return new GatewayError(
      'gateway.proxy.auth',
      `the proxy ${name} ${authenticationHint(statusCode, offeredSchemes(headers), { proxy, hadCredentials })}`,
    );
  if (statusCode === 504)
    return new GatewayError(
      'gateway.proxy.timeout',
      `the proxy ${name} says that ${where} did not answer it in time (504)`,
    );
  const hint =
    statusCode === 403 || statusCode === 451
      ? 'its rules do not allow that; ask its administrators to allow CONNECT to that host and port'
      : statusCode >= 500
        ? `it could not reach that host itself; ask its administrators, or check ${hostSetting(endpoint.host)}`
        : statusCode === 405 || statusCode === 501
          ? 'it does not tunnel; check that proxy.url names a forward proxy'
          : 'check proxy.url, and ask its administrators';
  return new GatewayError(
    'gateway.proxy.refused',
    `the proxy ${name} refused a tunnel to ${where} with status ${statusCode}: ${hint}`,
    {
      cause: bareCause(statusCode >= 500 ? 'PROXY_FAILED' : 'PROXY_DENIED'),
    },
  );
}

/** What a SOCKS proxy, or its client library, reported. The library's error is dropped: it carries the credentials. */
export function socksError(
  error: Error,
  { proxy, endpoint, hadCredentials }: { proxy: ForwardProxy; endpoint: Endpoint; hadCredentials: boolean },
): GatewayError {
  const name = routeName(proxy);
  const where = authority(endpoint.host, endpoint.port);
  const { message } = error;
  if (/authentication failed|authentication type|no accepted authentication/i.test(message)) {
    return new GatewayError(
      'gateway.proxy.auth',
      `the proxy ${name} ${socksAuthenticationHint(proxy, hadCredentials)}`,
    );
  }
  if (/timed out/i.test(message))
    return new GatewayError('gateway.proxy.timeout', `the proxy ${name} did not open a tunnel to ${where} in time`);
  const verdict = /rejected connection - \(?([A-Za-z]+)\)?/i.exec(message)?.[1];
  if (verdict) {
    const isDenied = verdict === 'NotAllowed';
    const hint = isDenied
      ? 'its rules do not allow that; ask its administrators'
      : 'it could not reach that host itself, or does not want to';
    return new GatewayError(
      'gateway.proxy.refused',
      `the proxy ${name} refused a tunnel to ${where} (${verdict}): ${hint}`,
      {
        cause: bareCause(isDenied ? 'PROXY_DENIED' : 'PROXY_FAILED'),
      },
    );
  }
  if (/socket closed|invalid|internal error/i.test(message) && errorCode(error) === 'unknown') {
    return new GatewayError(
      'gateway.proxy.refused',
      `the proxy ${name} ended the SOCKS handshake: check that proxy.url has the right scheme and port`,
    );
  }
  // The library keeps of a socket's error only its text: `connect ECONNREFUSED …`, `getaddrinfo ENOTFOUND …`.
  const [, syscall, code] = /^(\w+) (E[A-Z0-9_]+)/.exec(message) ?? [];
  return proxyConnectError(code ? Object.assign(bareCause(code), { syscall }) : error, proxy);
}

/**
 * Whether the next entry of a PAC list is worth trying: a proxy that is not there is passed over, one that says no is
 * obeyed.
 */
export function mayFallThrough(error: GatewayError): boolean {
  if (
    error.code === 'gateway.proxy.timeout' ||
    error.code === 'gateway.upstream.unreachable' ||
    error.code === 'gateway.upstream.timeout'
  )
    return true;
  return (
    error.code === 'gateway.proxy.refused' &&
    (error.cause as NodeJS.ErrnoException | undefined)?.code !== 'PROXY_DENIED'
  );
}

/**
 * The schemes of `Proxy-Authenticate`, in lower case: one line may hold several challenges (RFC 9110, section 11.6.1).
 */
function offeredSchemes(headers: ProxyResponse['headers']): readonly string[] {
  const lines = (headers['proxy-authenticate'] ?? []).map((line) =>
    line.slice(0, LONGEST_CHALLENGE).replace(/"(?:[^"\\]|\\.)*"/g, '""'),
  );
  return lines.flatMap((line) =>
    [...line.matchAll(/(?:^|,)\s*([^\s,="]+)(?=\s|,|$)/g)].map(([, scheme = '']) => scheme.toLowerCase()),
  );
}

const STRANGER_HINT =
  'which it is not shown: the script that names it comes over plain http, or proxy.credential_hosts is set and ' +
  'does not list it; use pac+https or pac+file, or list the proxy there';

function authenticationHint(
  status: number,
  schemes: readonly string[],
  { proxy, hadCredentials }: { proxy: ForwardProxy; hadCredentials: boolean },
): string {
  if (schemes.length > 0 && !schemes.includes('basic')) {
    const known = schemes.map((scheme) => KNOWN_SCHEMES[scheme] ?? 'another scheme');
    return (
      `offers only ${[...new Set(known)].join(' and ')} authentication (${status}), which is not supported; NTLM ` +
      'and Kerberos need a local relay: set proxy.url to it, or ask for an account with Basic'
    );
  }
  if (proxy.isStranger) return `asks for credentials (${status}), ${STRANGER_HINT}`;
  return hadCredentials
    ? `does not accept the credentials (${status}): correct proxy.username and proxy.password`
    : `asks for credentials (${status}): set proxy.username and proxy.password`;
}

const KNOWN_SCHEMES: Record<string, string> = {
  ntlm: 'NTLM',
  negotiate: 'Negotiate (Kerberos or NTLM)',
  kerberos: 'Kerberos',
  digest: 'Digest',
  bearer: 'Bearer',
};

function socksAuthenticationHint(proxy: ForwardProxy, hadCredentials: boolean): string {
  if (proxy.isStranger) return `asks for credentials, ${STRANGER_HINT}`;
  return hadCredentials
    ? 'does not accept the credentials: correct proxy.username and proxy.password'
    : 'asks for credentials, or for a kind of authentication that is not supported: set proxy.username and ' +
        'proxy.password';
}
