// What is ambiguous in a request's framing is refused before anything looks at its meaning: facts that node:http lets
// through, RFC 9112.

import type { IncomingMessage } from 'node:http';
import { GatewayError } from '../errors.ts';

/** What a checked frame says: the Host as sent, the target in origin-form. */
export interface Framing {
  readonly host: string;
  readonly target: string;
}

const ABSOLUTE_FORM = /^https?:\/\/([^/?#]*)(.*)$/is;

/**
 * Checks version, Host, Transfer-Encoding, method and target form. Throws gateway.request.invalid (400, 405 or 417).
 */
export function assertFraming(request: IncomingMessage): Framing {
  const { method, url = '', rawHeaders } = request;
  if (request.httpVersionMajor !== 1 || request.httpVersionMinor > 1)
    throw invalid('only HTTP/1.1 and HTTP/1.0 are spoken here');
  if (method === 'TRACE' || method === 'CONNECT') {
    throw new GatewayError(
      'gateway.request.invalid',
      `${method} is not served: it would hand the token to whoever asks`,
      { statusCode: 405 },
    );
  }
  let host: string | null = null;
  let expect: string | null = null;
  let encodings: string | null = null;
  let hasLength = false;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    switch (name.length) {
      case 4:
        if (name.toLowerCase() !== 'host') break;
        if (host !== null) throw invalid('there is more than one Host header');
        host = rawHeaders[i + 1] as string;
        break;
      case 6:
        if (name.toLowerCase() === 'expect') expect = rawHeaders[i + 1] as string;
        break;
      case 14:
        if (name.toLowerCase() !== 'content-length') break;
        if (hasLength) throw invalid('there is more than one Content-Length header');
        hasLength = true;
        break;
      case 17:
        if (name.toLowerCase() !== 'transfer-encoding') break;
        if (encodings !== null) throw invalid('there is more than one Transfer-Encoding header');
        encodings = rawHeaders[i + 1] as string;
    }
  }
  if (host === null || host === '') throw invalid('there is no Host header');
  if (encodings !== null) {
    if (request.httpVersionMinor === 0) throw invalid('Transfer-Encoding is not part of HTTP/1.0');
    if (encodings.toLowerCase() !== 'chunked') throw invalid('the only Transfer-Encoding taken is chunked');
    if (hasLength) throw invalid('Transfer-Encoding and Content-Length contradict each other');
  }
  if (expect !== null && expect.toLowerCase() !== '100-continue') {
    throw new GatewayError('gateway.request.invalid', 'the only expectation met is 100-continue', { statusCode: 417 });
  }
  if (url.charCodeAt(0) === 47 /* / */) return { host, target: url };
  if (url === '*' && method === 'OPTIONS') return { host, target: '/*' };
  const absolute = ABSOLUTE_FORM.exec(url);
  if (!absolute) throw invalid('the request target must be a path');
  if ((absolute[1] as string).toLowerCase() !== host.toLowerCase())
    throw invalid('the request target names another host than the Host header');
  const rest = absolute[2] as string;
  return { host, target: rest.startsWith('/') ? rest : `/${rest}` };
}

function invalid(what: string): GatewayError {
  return new GatewayError('gateway.request.invalid', `the request is refused: ${what}`);
}
