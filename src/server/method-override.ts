// Whether a call asks some server on its way to take it for another method than it has, by a header or by the query. Such a call is two calls:
// where that matters (a client's rules, the caller's own token) it is refused. Elsewhere it passes as it came. Pure.

import type { IncomingHttpHeaders } from 'node:http';

const HEADERS = new Set(['x-http-method-override', 'x-http-method', 'x-method-override']);
const FIELD = '_method';

/** `target` with its query. To many servers `X_HTTP_Method_Override` is the same header. */
export function asksForOtherMethod(headers: IncomingHttpHeaders, target: string): boolean {
  for (const name in headers) if (name.startsWith('x') && HEADERS.has(name.replaceAll('_', '-'))) return true;
  const queryAt = target.indexOf('?');
  if (queryAt < 0) return false;
  for (const name of new URLSearchParams(target.slice(queryAt)).keys()) if (name.toLowerCase() === FIELD) return true;
  return false;
}
