// Reads a request of the token endpoint: the form, strictly, and who the application says it is. Looks nothing up.

import { parseAuthorization } from '../../auth/callers/clients.ts';
import type { FormFields } from '../../auth/credentials/token-endpoint.ts';
import { refuse } from '../responses.ts';

/** Room for a SAML assertion and no more. */
export const LARGEST_FORM_BYTES = 256 * 1024;

/** What was asked. */
export interface TokenRequest {
  /** In wire order, each at most once. */
  readonly fields: FormFields;
  readonly grantType: string;
  get(name: string): string | undefined;
  /** Basic, or client_id and client_secret of the form. */
  readonly login: { readonly name: string; readonly secret: string } | null;
  /** The id of `login`, or a client_id alone. */
  readonly clientId: string | null;
}

/** Throws an OAuthRefusal `invalid_request`, `invalid_client`. */
export function readTokenRequest(
  contentType: string | undefined,
  body: string,
  authorization: string | undefined,
): TokenRequest {
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(contentType ?? '')) {
    throw refuse('invalid_request', 'the body must be application/x-www-form-urlencoded');
  }
  const fields = [...new URLSearchParams(body)];
  const form = new Map(fields);
  if (form.size !== fields.length) throw refuse('invalid_request', 'a field is given twice');
  const grantType = form.get('grant_type');
  if (grantType === undefined) throw refuse('invalid_request', 'grant_type is missing');
  const login = readLogin(authorization) ?? formLogin(form);
  const formId = form.get('client_id');
  if (login !== null && formId !== undefined && formId !== login.name) {
    throw refuse('invalid_request', 'client_id differs from the Authorization header');
  }
  return { fields, grantType, get: (name) => form.get(name), login, clientId: login?.name ?? formId ?? null };
}

/** The id and secret of a Basic header; null without one. */
export function readLogin(authorization: string | undefined): TokenRequest['login'] {
  if (authorization === undefined) return null;
  const parsed = parseAuthorization(authorization);
  return parsed.scheme === 'basic' ? { name: parsed.name, secret: parsed.secret } : null;
}

function formLogin(form: ReadonlyMap<string, string>): TokenRequest['login'] {
  const name = form.get('client_id');
  const secret = form.get('client_secret');
  return name === undefined || secret === undefined ? null : { name, secret };
}
