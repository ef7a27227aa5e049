// The SAML2 bearer grant (RFC 7522, with the platform's `orgName`): no user at a browser, no refresh token, a fresh assertion each time.

import type { FormFields } from '../client-auth.ts';
import { scopeField } from './scope.ts';

/** Form fields in the SDKs' order. */
export function saml2BearerForm(orgName: string, assertion: string, scope: string | null): FormFields {
  return [
    ['grant_type', 'urn:ietf:params:oauth:grant-type:saml2-bearer'],
    ['orgName', orgName],
    ['assertion', encodeAssertion(assertion)],
    ...scopeField(scope),
  ];
}

/** The platform wants base64 on one line: XML is encoded, line breaks that `base64` and editors put in are taken out. */
export function encodeAssertion(assertion: string): string {
  const trimmed = assertion.trim();
  return trimmed.startsWith('<') ? Buffer.from(trimmed, 'utf8').toString('base64') : trimmed.replaceAll(/\s+/g, '');
}
