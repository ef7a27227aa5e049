// Callers that speak TLS to a plain http listener, or plain http to a TLS one: how they are recognised, and the record
// that tells whoever runs the gateway. One record for a peer and minute, whatever comes.

import type { Socket } from 'node:net';
import { networkOf } from '../auth/callers/auth-throttle.ts';
import type { Clock } from '../clock.ts';
import { withoutMapping } from '../config/address-blocks.ts';
import type { Log } from '../logging/log.ts';

/** What a caller spoke, where the listener speaks the other. */
export type SpokenProtocol = 'http' | 'tls';

/** How long after a record of a peer there is none of it. */
const QUIET_MS = 60_000;
/** How many peers are told apart in that time; what others do is counted. */
const MOST_PEERS = 20;

const RECORDS: Record<SpokenProtocol, readonly [message: string, advice: string]> = {
  tls: [
    'a caller spoke TLS to a plain http listener',
    "write http:// there; in an SDK set the protocol to http (the JavaScript SDK's setGateway takes https where it " +
      'is left out); or serve TLS with [server.tls]',
  ],
  http: ['a caller spoke plain http to a TLS listener', 'write https:// there, or protocol https in an SDK'],
};

/** Writes the records. Bounded in peers and in records, and cheap where a peer repeats itself. */
export class WrongProtocols {
  readonly #clock: Clock;
  readonly #log: Log;
  /** When each peer was told of, oldest first. */
  readonly #toldAt = new Map<string, number>();
  #leftOut = 0;

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Notes what came in over a connection; `unixPath` is what a Unix socket is called, which has no addresses. */
  note(spoken: SpokenProtocol, socket: Socket, unixPath = 'unix'): void {
    const { remoteAddress, localAddress, localPort } = socket;
    const peer = remoteAddress === undefined ? unixPath : withoutMapping(remoteAddress);
    const key = `${spoken} ${networkOf(peer)}`;
    const now = this.#clock.monotonic();
    for (const [one, at] of this.#toldAt) {
      if (now - at < QUIET_MS) break;
      this.#toldAt.delete(one);
    }
    if (this.#toldAt.has(key)) return;
    if (this.#toldAt.size >= MOST_PEERS) {
      this.#leftOut += 1;
      return;
    }
    this.#toldAt.set(key, now);
    const [message, advice] = RECORDS[spoken];
    const listener = localAddress === undefined ? unixPath : `${withoutMapping(localAddress)} port ${localPort}`;
    this.#log.warn({ peer, listener, advice, ...(this.#leftOut > 0 && { leftOut: this.#leftOut }) }, message);
    this.#leftOut = 0;
  }
}

/** The first octet of a TLS record that holds a handshake (RFC 8446, section 5.1). No HTTP method begins with it. */
const HANDSHAKE = 0x16;

/** Whether what Node's HTTP parser refused is the beginning of a TLS handshake, and of the connection. */
export function isTlsHello(error: Error, { bytesRead }: Socket): boolean {
  const { rawPacket } = error as Error & { readonly rawPacket?: unknown };
  return rawPacket instanceof Uint8Array && rawPacket[0] === HANDSHAKE && bytesRead === rawPacket.length;
}

/** Whether a TLS handshake failed because its peer sent an HTTP request, and nothing of TLS was sent to it yet. */
export function isPlainRequest({ code }: NodeJS.ErrnoException, { bytesWritten }: Socket): boolean {
  return (code === 'ERR_SSL_HTTP_REQUEST' || code === 'ERR_SSL_HTTPS_PROXY_REQUEST') && bytesWritten === 0;
}
