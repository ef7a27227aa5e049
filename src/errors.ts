// The errors that callers of the gateway see: one class, one union of codes, one table of codes to statuses.
// Rendering them is the server's; none carries a third party's error object.

/** Every code the gateway can put in `X-Gateway-Error`, with the HTTP status it is answered with and what it means. */
export const ERROR_TABLE = {
  'gateway.request.invalid': {
    status: 400,
    side: 'caller',
    meaning:
      'The request is malformed or ambiguous, and is refused rather than repaired. 405 lists the methods this path ' +
      'supports in `Allow`.',
  },
  'gateway.body.too.large': {
    status: 413,
    side: 'caller',
    meaning: 'The body is larger than `server.max_body_bytes`.',
  },
  'gateway.route.not.found': { status: 404, side: 'caller', meaning: 'No such route here: only /api/v2 is forwarded.' },
  'gateway.host.forbidden': {
    status: 403,
    side: 'caller',
    meaning: 'The Host header names a host that is neither loopback nor in `server.allowed_hosts`.',
  },
  'gateway.origin.forbidden': {
    status: 403,
    side: 'caller',
    meaning:
      'A web page of another origin made this request, or a page asked for an answer to run it or to put it into a ' +
      'frame.',
  },
  'gateway.client.unauthenticated': { status: 401, side: 'caller', meaning: 'The caller did not prove who it is.' },
  'gateway.client.forbidden': { status: 403, side: 'caller', meaning: 'The caller may not do this.' },
  'gateway.session.ended': {
    status: 401,
    side: 'caller',
    meaning: 'The handle is unknown, expired or revoked: log in again.',
  },
  'gateway.credential.unknown': { status: 404, side: 'caller', meaning: 'No credential of that name is configured.' },
  'gateway.rate.limited': {
    status: 429,
    side: 'caller',
    meaning:
      'The call was held back, because the platform would have refused it, or because `rate_limit.queue_max` calls ' +
      'wait already. At the token endpoint, and for `DELETE /api/v2/tokens/me`: too many of one caller.',
  },
  'gateway.budget.exceeded': {
    status: 403,
    side: 'caller',
    meaning: 'The client has used its `requests_per_month`. Retrying does not help before the next month begins (UTC).',
  },
  'gateway.inspector.busy': {
    status: 429,
    side: 'caller',
    meaning:
      'Too many watch the live page or read its data at the same time; or too many calls were made again, or the ' +
      'limit that such a call counts for is paused.',
  },
  'gateway.loop': { status: 508, side: 'caller', meaning: 'The request came back to the gateway that sent it.' },
  'gateway.credential.rejected': {
    status: 424,
    side: 'token',
    meaning: 'The platform refuses the credential. Retrying does not help; fix the credential.',
  },
  'gateway.login.required': {
    status: 424,
    side: 'token',
    meaning: 'A person must log in, or a fresh assertion or token is needed.',
  },
  'gateway.credential.unavailable': {
    status: 503,
    side: 'token',
    meaning: 'The token endpoint cannot be reached, is throttled or is not trusted. See Retry-After.',
  },
  'gateway.credential.timeout': {
    status: 504,
    side: 'token',
    meaning: 'No token came within `reauthentication.refresh_token_wait_max` or `timeouts.total_wait`.',
  },
  'gateway.upstream.unreachable': {
    status: 502,
    side: 'upstream',
    meaning: 'The connection to the region was refused, reset, or its name not resolved.',
  },
  'gateway.upstream.tls': { status: 502, side: 'upstream', meaning: "The region's certificate is not trusted." },
  'gateway.upstream.invalid': {
    status: 502,
    side: 'upstream',
    meaning: 'The region answered with something that is not HTTP.',
  },
  'gateway.upstream.timeout': {
    status: 504,
    side: 'upstream',
    meaning: 'The region did not accept the connection, or did not answer, in time.',
  },
  'gateway.upstream.unavailable': {
    status: 503,
    side: 'upstream',
    meaning:
      'The region could not be reached repeatedly, and calls are shed until a probe succeeds; or no connection to ' +
      'it came free within `timeouts.total_wait` (`rate_limit.connections`). Nothing was sent.',
  },
  'gateway.proxy.refused': {
    status: 502,
    side: 'proxy',
    meaning: 'The corporate proxy refused the tunnel or could not be reached.',
  },
  'gateway.proxy.auth': {
    status: 502,
    side: 'proxy',
    meaning: 'The corporate proxy asks for credentials, or refuses the configured ones.',
  },
  'gateway.proxy.timeout': {
    status: 504,
    side: 'proxy',
    meaning: 'The corporate proxy did not open the tunnel in time.',
  },
  'gateway.audit.unavailable': {
    status: 503,
    side: 'gateway',
    meaning:
      'The audit trail cannot be written, and changing calls are not sent without it (`audit.on_failure`). The message ' +
      'says whether this one was sent.',
  },
  'gateway.draining': {
    status: 503,
    side: 'gateway',
    meaning: 'The gateway is shutting down: it takes no new calls, and those that still wait cannot be made in time.',
  },
  'gateway.internal': {
    status: 500,
    side: 'gateway',
    meaning: 'A fault of the gateway itself. Please report it with the request id.',
  },
} as const satisfies Record<string, { status: number; side: string; meaning: string }>;

/** A stable, documented error code of the gateway's own. */
export type ErrorCode = keyof typeof ERROR_TABLE;

/**
 * What a GatewayError may carry beside its code and message. `cause` is an error of ours, or one that carries nothing
 * but a code.
 */
export interface GatewayErrorOptions {
  readonly statusCode?: number;
  readonly retryAfterMs?: number | undefined;
  readonly allow?: readonly string[] | undefined;
  readonly cause?: Error | undefined;
}

/**
 * An error with a message that is safe to show to the caller: no secret, no token, no body of the token endpoint.
 * `statusCode` comes from the table; `gateway.request.invalid` may be narrowed (400, 405, 408, 417, 422, 431, 499), and the
 * token endpoint narrows `gateway.client.unauthenticated` to 400.
 * `retryAfterMs` becomes `Retry-After`, rounded up to whole seconds; `allow` are the methods that a 405 names.
 */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly code: ErrorCode;
  readonly statusCode: number;
  readonly retryAfterMs: number | undefined;
  readonly allow: readonly string[] | undefined;

  constructor(code: ErrorCode, message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause ? { cause: options.cause } : undefined);
    this.code = code;
    this.statusCode = options.statusCode ?? ERROR_TABLE[code].status;
    this.retryAfterMs = options.retryAfterMs;
    this.allow = options.allow;
  }
}

/** Whether a thrown value is one of ours, with a message that may be shown. */
export function isGatewayError(value: unknown): value is GatewayError {
  return value instanceof GatewayError;
}
