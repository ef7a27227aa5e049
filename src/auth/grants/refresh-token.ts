// The refresh token grant (RFC 6749 section 6). What becomes of a rotated token is user-source.ts's matter.

import type { Secret } from '../../config/secret.ts';
import type { FormFields } from '../client-auth.ts';

/** Form fields in the SDKs' order. No scope: the grant keeps what it had. */
export function refreshTokenForm(refreshToken: Secret): FormFields {
  return [
    ['grant_type', 'refresh_token'],
    ['refresh_token', refreshToken.reveal()],
  ];
}
