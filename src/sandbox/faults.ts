// The errors that the simulation answers with, as throwable values: the API's error body and the OAuth one. The API and
// the token endpoint write them to the wire.

/** The optional members of an API error body, and headers to send with it. */
export interface PlatformErrorExtra {
  details?: readonly Record<string, string>[];
  limit?: { key: string; namespace: string; value: number };
  headers?: Record<string, string>;
}

/** Thrown by API routes; becomes `{message, code, status, contextId, details, errors}` with that status. */
export class PlatformError extends Error {
  override readonly name = 'PlatformError';
  readonly status: number;
  readonly code: string;
  readonly extra: PlatformErrorExtra;

  constructor(status: number, code: string, message: string, extra: PlatformErrorExtra = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.extra = extra;
  }

  /** The body, with the correlation id of the answer as `contextId`. */
  body(contextId: string): Record<string, unknown> {
    const { details = [], limit } = this.extra;
    return {
      message: this.message,
      code: this.code,
      status: this.status,
      contextId,
      details,
      errors: [],
      ...(limit && { limit }),
    };
  }
}

/** Thrown by the token endpoint and the login page; the platform answers these with HTTP 400, whatever the kind. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError';
  readonly error: string;

  constructor(error: string, description: string) {
    super(description);
    this.error = error;
  }

  /** `description` is the platform's own member, `error_description` the standard's (RFC 6749 section 5.2). */
  body(): Record<string, string> {
    return { error: this.error, description: this.message, error_description: this.message };
  }
}

/** Whether a thrown value is an API error. */
export function isPlatformError(value: unknown): value is PlatformError {
  return value instanceof PlatformError;
}

/** Whether a thrown value is an OAuth error. */
export function isOAuthError(value: unknown): value is OAuthError {
  return value instanceof OAuthError;
}
