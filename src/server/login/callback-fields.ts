// What a login brings back, read from a query, a form or a fragment, which all look alike.

import type { LoginCallback } from '../../auth/credentials/login.ts';
import { GatewayError } from '../../errors.ts';

/** Whether there is an answer in it at all, and not in a fragment that only the browser sees. */
export function hasAnswer(query: string): boolean {
  const fields = new URLSearchParams(query);
  return fields.has('code') || fields.has('error');
}

/** Throws gateway.request.invalid for a missing state or a field that is there twice. */
export function readCallback(text: string, binding: string | null): LoginCallback {
  const fields = new URLSearchParams(text);
  const map = new Map(fields);
  if (map.size !== [...fields.keys()].length) throw new GatewayError('gateway.request.invalid', 'the answer of the login page is ambiguous');
  const state = map.get('state');
  if (!state) throw new GatewayError('gateway.request.invalid', 'the answer of the login page has no state: start the login again');
  const fragment = map.has('access_token') ? Object.fromEntries(map) : undefined;
  return {
    ...{ state, binding, code: map.get('code'), error: map.get('error'), errorDescription: map.get('error_description') },
    ...(fragment && { fragment }),
  };
}
