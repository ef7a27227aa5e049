// Opens a WebSocket at the upstream: the handshake alone, over a connection of the egress. Carrying what follows is the
// tunnel's job.

import { createHash } from 'node:crypto';
import { type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestTls } from 'node:https';
import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../clock.ts';
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

/** The upstream's response. Header lines are flat, as they came. Of an open socket `head` came behind the handshake. */
export type HandshakeResponse =
  | { readonly kind: 'open'; readonly socket: Duplex; readonly head: Buffer; readonly rawHeaders: readonly string[] }
  | {
      readonly kind: 'refused';
      readonly statusCode: number;
      readonly statusText: string;
      readonly rawHeaders: readonly string[];
      readonly body: Buffer;
    };

/** What it opens with. `headersMs` bounds everything up to the end of the response. */
export interface OpenSocketDeps {
  readonly egress: Pick<Egress, 'agent'>;
  readonly clock: Clock;
  readonly headersMs: number;
  /** Given up when it aborts, by the reason if that is a GatewayError. */
  readonly signal: AbortSignal;
}

/**
 * Opens a WebSocket. Rejects with a GatewayError: those of the egress,
 * `gateway.upstream.{unreachable,timeout,invalid}`, or the signal's reason.
 */
export async function openSocket(request: SocketRequest, deps: OpenSocketDeps): Promise<HandshakeResponse> {
  return new Handshake(request, deps).response;
}

/** One handshake, from its first octet to the end of its response. */
class Handshake {
  readonly response: Promise<HandshakeResponse>;
  readonly #host: string;
  readonly #key: string;
  readonly #signal: AbortSignal;
  readonly #outgoing: ClientRequest;
  readonly #deadline: Timer;
  #resolve!: (response: HandshakeResponse) => void;
  #reject!: (error: Error) => void;

  constructor({ url, key, headers }: SocketRequest, { egress, clock, headersMs, signal }: OpenSocketDeps) {
    this.#host = url.host;
    this.#key = key;
    this.#signal = signal;
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const secure = url.protocol === 'wss:';
    this.#outgoing = (secure ? requestTls : requestPlain)({
      agent: egress.agent({ secure }),
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port || (secure ? 443 : 80),
      path: url.pathname + url.search,
      setHost: false,
      maxHeaderSize: 64 * 1024,
      headers: ['Host', url.host, 'Upgrade', 'websocket', 'Connection', 'Upgrade', ...headers],
    });
    // From the first octet to the last: a flood of informational responses does not move it.
    this.#deadline = clock.after(headersMs, () => this.#fail(this.#late(headersMs)));
    signal.addEventListener('abort', this.#onAbort);
    // Stays: what happens on the connection after the handshake is told to its next owner as well.
    this.#outgoing.on('error', this.#fail);
    this.#outgoing.on('upgrade', (response, socket, head) => this.#onUpgrade(response, socket, head));
    this.#outgoing.on('response', (response) => this.#onResponse(response));
    if (signal.aborted) this.#onAbort();
    else this.#outgoing.end();
  }

  #onUpgrade(response: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#release();
    if (response.headers['sec-websocket-accept'] === acceptOf(this.#key)) {
      this.#resolve({ kind: 'open', socket, head, rawHeaders: response.rawHeaders });
      return;
    }
    socket.on('error', () => {
      // Given up already.
    });
    socket.destroy();
    this.#reject(this.#invalid('accepted the socket without reading its key'));
  }

  #onResponse(response: IncomingMessage): void {
    // Without an Upgrade header Node takes it for any other response; a client would take it for an open socket.
    if (response.statusCode === 101) {
      this.#fail(this.#invalid('switched to no protocol'));
      return;
    }
    readRefusal(response).then((body) => {
      const { statusCode = 502, statusMessage = '', rawHeaders } = response;
      this.#release();
      this.#resolve({ kind: 'refused', statusCode, statusText: statusMessage, rawHeaders, body });
      this.#outgoing.destroy();
    }, this.#fail);
  }

  readonly #onAbort = (): void => this.#fail(this.#signal.reason);

  readonly #fail = (error: unknown): void => {
    this.#release();
    this.#reject(toGatewayError(error, this.#host));
    this.#outgoing.destroy();
  };

  #release(): void {
    this.#deadline.cancel();
    this.#signal.removeEventListener('abort', this.#onAbort);
  }

  #invalid(what: string): GatewayError {
    return new GatewayError('gateway.upstream.invalid', `${this.#host} ${what}: is it the right host?`);
  }

  #late(headersMs: number): GatewayError {
    const message = `${this.#host} did not answer within ${headersMs / 1000} s (timeouts.headers): try again`;
    return new GatewayError('gateway.upstream.timeout', message);
  }
}

/** Half a body must not look like a whole one: it is all or nothing. */
async function readRefusal(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
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
