// The caller's half of a WebSocket handshake: what must be right about it (RFC 6455, section 4.2.1), which of its lines go upstream, and the
// lines it is answered with. Pure.

import type { IncomingMessage } from 'node:http';
import { GatewayError } from '../../errors.ts';
import { cleanResponseHeaders } from '../headers.ts';
import type { Route } from '../request-target.ts';

/** A handshake that is in order. */
export interface Handshake {
  readonly key: string;
  /** Sec-WebSocket-* and User-Agent, as they came. Nothing else of the caller's goes upstream: the channel id is all the platform asks for. */
  readonly headers: string[];
}

const KEY = /^[A-Za-z0-9+/]{22}==$/;
const PASSED = /^(?:sec-websocket-(?:key|version|protocol|extensions)|user-agent)$/i;

/** Throws gateway.request.invalid: 400, or 426 for another version of the protocol. */
export function readHandshake({ method, headers, rawHeaders, httpVersionMinor }: IncomingMessage): Handshake {
  const key = headers['sec-websocket-key'];
  const isWebSocket = headers.upgrade?.trim().toLowerCase() === 'websocket';
  if (method !== 'GET' || httpVersionMinor !== 1 || !isWebSocket || key === undefined || !KEY.test(key)) {
    throw new GatewayError('gateway.request.invalid', 'this is not the handshake of a WebSocket (RFC 6455)');
  }
  if (headers['sec-websocket-version'] !== '13') {
    throw new GatewayError('gateway.request.invalid', 'only version 13 of the WebSocket protocol is spoken here', { statusCode: 426 });
  }
  if (headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0') {
    throw new GatewayError('gateway.request.invalid', 'the handshake of a WebSocket has no body');
  }
  const passed: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (PASSED.test(rawHeaders[i] as string)) passed.push(rawHeaders[i] as string, rawHeaders[i + 1] as string);
  }
  return { key, headers: passed };
}

const CHANNEL = /^\/streaming\/channels\/([^/]+)$/;

/** The channel a route leads to, with the token its address carries; null for any other route. */
export function channelOf(route: Route): { readonly id: string; readonly token: string | null } | null {
  if (route.kind !== 'local') return null;
  const id = CHANNEL.exec(route.path)?.[1];
  return id === undefined ? null : { id, token: new URLSearchParams(route.query).get('token') };
}

/** The head of the answer to the caller, made of the upstream's. `own` goes behind its lines. */
export function answerHead(status: string, rawHeaders: readonly string[], own: readonly string[]): { text: string; correlationId: string | null } {
  const octets = rawHeaders.map((text) => Buffer.from(text, 'latin1'));
  const { headers, correlationId } = cleanResponseHeaders(octets, Number.parseInt(status, 10), (location) => location);
  let text = `HTTP/1.1 ${status}\r\n`;
  const lines = [...headers, ...own];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const isOurs = i >= headers.length;
    if (isOurs || (lines[i] as string).toLowerCase() !== 'content-length') text += `${lines[i]}: ${lines[i + 1]}\r\n`;
  }
  return { text: `${text}\r\n`, correlationId };
}
