// The client credentials grant (RFC 6749 section 4.4): the client's own token, no user, no refresh token.

import type { FormFields } from '../client-auth.ts';
import { scopeField } from './scope.ts';

/** Form fields in the SDKs' order. */
export function clientCredentialsForm(scope: string | null): FormFields {
  return [['grant_type', 'client_credentials'], ...scopeField(scope)];
}
