// The authorization code grant with a client secret (RFC 6749 section 4.1): the exchange. The page that gets the code is login.ts's matter.

import type { FormFields } from '../client-auth.ts';

/** Form fields in the SDKs' order. `redirectUri` must be the one the authorise URL named. */
export function authorizationCodeForm(code: string, redirectUri: string): FormFields {
  return [
    ['grant_type', 'authorization_code'],
    ['code', code],
    ['redirect_uri', redirectUri],
  ];
}
