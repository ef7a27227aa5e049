// How a client proves itself to the token endpoint: Basic, or (public clients, PKCE) only by its id in the form.

import type { SecretSource } from '../config/secret-source.ts';

/** `headers` flat name, value; `formFields` go behind the grant's own fields. Holds a secret: never log it. */
export interface ClientAuth {
  readonly headers: readonly string[];
  readonly formFields: FormFields;
}

/** Form fields in wire order. */
export type FormFields = readonly (readonly [name: string, value: string])[];

/**
 * Basic with the raw id and secret as UTF-8, as the platform and its SDKs have it: RFC 6749 section 2.3.1 would percent-encode both first.
 * Reads the secret; throws GatewayError `gateway.credential.rejected` when it cannot.
 */
export function basicAuth(clientId: string, clientSecret: SecretSource): ClientAuth {
  const pair = Buffer.from(`${clientId}:${clientSecret.read().reveal()}`, 'utf8').toString('base64');
  return { headers: ['authorization', `Basic ${pair}`], formFields: [] };
}

/** No secret: the id travels in the form, where the grant has not put it there itself. */
export function publicClientAuth(clientId: string): ClientAuth {
  return { headers: [], formFields: [['client_id', clientId]] };
}
