// The access token as the gateway holds it. Opaque: never parsed.

import type { Secret } from '../config/secret.ts';

/** An access token and how long it is good for. Immutable. */
export interface Token {
  readonly accessToken: Secret;
  /** Precomputed `Bearer …` header value, so that nothing is built per request. Never log it. */
  readonly authorization: string;
  /** Short SHA-256 fingerprint for records. */
  readonly fingerprint: string;
  /** Epoch ms when it was received. */
  readonly obtainedAt: number;
  /** Epoch ms; `Infinity` when the life is not known (a token given by the user). */
  readonly expiresAt: number;
}
