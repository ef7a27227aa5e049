// The one table that turns what undici and Node say about a failed exchange into the gateway's own codes.
// The connector (egress) already speaks in GatewayErrors; those pass as they are.

import { type ErrorCode, GatewayError, isGatewayError } from '../errors.ts';
import { bareCause, handshakeProblem } from './egress/dial-error.ts';

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
 * parts of an answer.
 */
export function toGatewayError(error: unknown, host: string): GatewayError {
  if (isGatewayError(error)) return error;
  const rawCode = (error as { code?: unknown } | null)?.code;
  const code = typeof rawCode === 'string' ? rawCode : error instanceof Error ? error.name : 'unknown';
  const mapped = isInvalidAnswer(error, code) ? 'gateway.upstream.invalid' : CODES[code];
  const tlsProblem = handshakeProblem(code);
  if (tlsProblem)
    return new GatewayError('gateway.upstream.tls', `the TLS connection to ${host} broke: ${tlsProblem}`, {
      cause: bareCause(code),
    });
  if (mapped) return new GatewayError(mapped, MESSAGES[mapped]?.(host, code) ?? code, { cause: bareCause(code) });
  return new GatewayError(
    'gateway.internal',
    'the call failed in the gateway itself: please report it with the request id',
  );
}

/**
 * What undici's parser refuses: named by its class, as its code gets lost on the way (7.30). And an answer that no
 * request asked for, a 100 or a 101 among them: undici drops the connection, and says why in words only.
 */
function isInvalidAnswer(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  // Node's own parser, which reads the handshakes of sockets, has codes. undici's client asserts what it expects of its
  // parser's answers: a 101 without an Upgrade header, for one.
  if (code.startsWith('HPE_') || code === 'ERR_ASSERTION') return true;
  return (
    error.name === 'HTTPParserError' || (code === 'UND_ERR_SOCKET' && /^bad (response|upgrade)$/.test(error.message))
  );
}
