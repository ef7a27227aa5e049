// Whether a call asks some server on its way to take it for another method or path than it has, by a header or by the query. Such a call is two
// calls: where that matters (a client's rules, the caller's own token) it is refused. Elsewhere it passes as it came. Pure.

import type { IncomingHttpHeaders } from 'node:http';

const METHOD_HEADERS = new Set(['x-http-method-override', 'x-http-method', 'x-method-override']);
const FIELD = '_method';

/** Of IIS, Symfony, Zend and others like them. What proxies only tell, and nobody acts on (`X-Envoy-Original-Path`), is not among them. */
const PATH_HEADERS = new Set(['url', 'uri', 'path'].flatMap((what) => ['original', 'rewrite', 'override'].map((how) => `x-${how}-${what}`)));

/** `target` with its query. To many servers `X_HTTP_Method_Override` is the same header. */
export function asksForOtherMethod(headers: IncomingHttpHeaders, target: string): boolean {
  for (const name in headers) if (name.startsWith('x') && METHOD_HEADERS.has(name.replaceAll('_', '-'))) return true;
  const queryAt = target.indexOf('?');
  if (queryAt < 0) return false;
  for (const name of new URLSearchParams(target.slice(queryAt)).keys()) if (name.toLowerCase() === FIELD) return true;
  return false;
}

/** The path, or paths, for which a call asks to be taken in the place of its own, as they were written; almost always null. */
export function otherPathAsked(headers: IncomingHttpHeaders): string | null {
  let asked: string | null = null;
  for (const name in headers) {
    if (name.startsWith('x') && PATH_HEADERS.has(name.replaceAll('_', '-'))) asked = `${asked ?? ''} ${headers[name]}`;
  }
  return asked;
}
