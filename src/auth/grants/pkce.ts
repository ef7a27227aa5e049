// Proof Key for Code Exchange (RFC 7636): verifier, S256 challenge and the exchange of a public client.

import { createHash, randomBytes } from 'node:crypto';
import type { FormFields } from '../client-auth.ts';

/** RFC 7636 section 4.1. */
const SHORTEST_VERIFIER_CHARS = 43;
const LONGEST_VERIFIER_CHARS = 128;

/** Random bytes from the system's CSPRNG, base64url: each character carries six whole bits, so there is no bias. 128 characters. */
export function createCodeVerifier(random: (bytes: number) => Buffer = randomBytes): string {
  return random((LONGEST_VERIFIER_CHARS * 6) / 8).toString('base64url');
}

/** S256: the base64url SHA-256, 43 characters. Throws RangeError for a verifier RFC 7636 does not allow. */
export function codeChallenge(verifier: string): string {
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) {
    throw new RangeError(`a code verifier has ${SHORTEST_VERIFIER_CHARS} to ${LONGEST_VERIFIER_CHARS} characters of A-Z a-z 0-9 - . _ ~`);
  }
  return createHash('sha256').update(verifier, 'ascii').digest('base64url');
}

/** Form fields in the SDKs' order; the client id is one of them, so that no further client authentication is sent. */
export function pkceForm(exchange: { code: string; verifier: string; clientId: string; redirectUri: string }): FormFields {
  return [
    ['grant_type', 'authorization_code'],
    ['code', exchange.code],
    ['code_verifier', exchange.verifier],
    ['client_id', exchange.clientId],
    ['redirect_uri', exchange.redirectUri],
  ];
}
