// Opens a WebSocket at the upstream: the handshake alone, over the connection that the egress makes. What is said on it
// is the tunnel's business.

import { createHash } from 'node:crypto';
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import type { Egress } from '../egress/egress.ts';
import { toGatewayError } from '../errors.ts';

/** RFC 6455, section 1.3. */
const HANDSHAKE_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** A refusal's body is passed on up to this size; a longer one is left out. */
const REFUSAL_BYTES = 64 * 1024;

/** What is sent: the URL, and header lines beyond Host, Upgrade and Connection. */
export interface SocketRequest {
  readonly url: URL;
  /** The caller's Sec-WebSocket-Key. */
  readonly key: string;
  /** Flat list, Sec-WebSocket-* among it. */
  readonly headers: readonly string[];
}

/** The upstream's answer. Header lines are flat, as they came. Of an open socket `head` came behind the handshake. */
export type SocketAnswer =
  | { readonly kind: 'open'; readonly socket: Duplex; readonly head: Buffer; readonly rawHeaders: readonly string[] }
  | {
      readonly kind: 'refused';
      readonly statusCode: number;
      readonly statusText: string;
      readonly rawHeaders: readonly string[];
      readonly body: Buffer;
    };

/** What it opens with. `headersMs` bounds everything up to the end of the answer. */
export interface OpenSocketDeps {
  readonly egress: Pick<Egress, 'agent'>;
  readonly clock: Clock;
  readonly headersMs: number;
  /** Given up when it aborts, by the reason if that is a GatewayError. */
  readonly signal: AbortSignal;
}

/**
 * Rejects with a GatewayError: those of the egress, `gateway.upstream.{unreachable,timeout,invalid}`, or the signal's
 * reason.
 */
export function openSocket(
  request: SocketRequest,
  { egress, clock, headersMs, signal }: OpenSocketDeps,
): Promise<SocketAnswer> {
  const { url, key } = request;
  const secure = url.protocol === 'wss:';
  return new Promise<SocketAnswer>((resolve, reject) => {
    const outgoing = (secure ? https : http).request({
      agent: egress.agent({ secure }),
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port || (secure ? 443 : 80),
      path: url.pathname + url.search,
      setHost: false,
      maxHeaderSize: 64 * 1024,
      headers: ['Host', url.host, 'Upgrade', 'websocket', 'Connection', 'Upgrade', ...request.headers],
    });
    const fail = (error: unknown) => {
      release();
      reject(toGatewayError(error, url.host));
      outgoing.destroy();
    };
    const onAbort = () => fail(signal.reason);
    // From the first octet to the last: a flood of informational answers does not move it.
    const deadline = clock.after(headersMs, () =>
      fail(
        new GatewayError(
          'gateway.upstream.timeout',
          `${url.host} did not answer within ${headersMs / 1000} s (timeouts.headers): try again`,
        ),
      ),
    );
    const release = () => {
      deadline.cancel();
      signal.removeEventListener('abort', onAbort);
    };
    signal.addEventListener('abort', onAbort);
    // Stays: what happens on the connection after the handshake is told to its next owner as well.
    outgoing.on('error', fail);
    outgoing.on('upgrade', (answer, socket, head) => {
      release();
      if (answer.headers['sec-websocket-accept'] === acceptOf(key))
        resolve({ kind: 'open', socket, head, rawHeaders: answer.rawHeaders });
      else {
        socket.on('error', () => {
          // Given up already.
        });
        socket.destroy();
        reject(
          new GatewayError(
            'gateway.upstream.invalid',
            `${url.host} accepted the socket without reading its key: is it the right host?`,
          ),
        );
      }
    });
    outgoing.on('response', (answer) => {
      // Without an Upgrade header Node takes it for an answer as any other; a caller would take it for an open socket.
      if (answer.statusCode === 101)
        return fail(
          new GatewayError('gateway.upstream.invalid', `${url.host} switched to no protocol: is it the right host?`),
        );
      readRefusal(answer).then((body) => {
        const { statusCode = 502, statusMessage = '', rawHeaders } = answer;
        release();
        resolve({ kind: 'refused', statusCode, statusText: statusMessage, rawHeaders, body });
        outgoing.destroy();
      }, fail);
    });
    if (signal.aborted) onAbort();
    else outgoing.end();
  });
}

/** Half a body must not look like a whole one: it is all or nothing. */
async function readRefusal(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > REFUSAL_BYTES) return Buffer.alloc(0);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What a server makes of a handshake's key. */
function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}${HANDSHAKE_GUID}`).digest('base64');
}
