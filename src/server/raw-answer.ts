// Answers on a socket for which there is no ServerResponse: requests the parser refused, and upgrades. Same shape as every other error.

import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { GatewayError } from '../errors.ts';
import { errorBody, errorHeaders } from './answer.ts';
import { answerLast } from './connection.ts';

/** How long a peer may go on sending after its connection was given up. */
const LINGER_MS = 1000;

/** Writes an error as a whole HTTP answer and ends the socket. `extra` are further header lines, flat. */
export function endWithError(socket: Duplex, error: GatewayError, requestId: string = randomUUID(), extra: readonly string[] = []): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = errorBody(error, requestId);
  const headers = [...errorHeaders(error, requestId, Buffer.byteLength(body)), ...extra];
  let text = `HTTP/1.1 ${error.statusCode} ${STATUS_CODES[error.statusCode] ?? 'Error'}\r\nConnection: close\r\n`;
  for (let i = 0; i + 1 < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  endWith(socket, Buffer.from(`${text}\r\n${body}`));
}

/** Ends a socket with a whole answer; a peer that does not close its side then is cut off. */
export function endWith(socket: Duplex, answer: Buffer): void {
  socket.end(answer);
  // Closed at once, what the peer still sends would be answered by a reset, which may overtake the answer (RFC 9112, section 9.6).
  const cut = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(cut));
}

/** Refuses an upgrade or a CONNECT. */
export function refuseUpgrade(socket: Duplex, statusCode: number, what: string): void {
  socket.on('error', () => {
    // The peer may be gone already; there is nobody left to tell.
  });
  answerLast(socket, () => endWithError(socket, new GatewayError('gateway.request.invalid', what, { statusCode })));
}

/** node:http's `clientError`: what its parser refused, and headers that came too slowly. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [statusCode, what] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'the request header is larger than 64 KiB']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'the request header did not come in time (server.header_timeout)']
        : [400, 'the request is not valid HTTP/1.1'];
  answerLast(socket, () => endWithError(socket, new GatewayError('gateway.request.invalid', what, { statusCode })));
}
