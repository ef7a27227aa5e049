// Per-connection state: exchanges in progress, whether the connection can still be used, and the address behind it.
// Sends nothing. Older Nodes tell a response that its connection is gone only when its turn has come: those that wait
// behind it (pipelining) are closed here.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { AddressBlocks, canonicalAddress, withoutMapping } from '../config/address-blocks.ts';

/** What a connection knows of an exchange on it. */
export interface OpenExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Called when the exchange is over, whole or not, or given up; may be called twice. */
  onOver(): void;
}

interface Connection {
  readonly open: Set<OpenExchange>;
  isBroken: boolean;
  /** A request on it was refused for its framing. */
  isRefused: boolean;
  /** The address at its other end, as it was at the first request: a socket that is gone tells none. */
  readonly address: string;
  onIdle: (() => void) | null;
}

/** Whether every exchange on a connection is over. */
export function isQuiet(socket: Duplex): boolean {
  const { open, isBroken } = connectionOf(socket);
  return open.size === 0 && !isBroken;
}

/**
 * Whether a request on this connection was refused in a way that leaves nothing behind it to be looked at: whatever was
 * read ahead is ignored.
 */
export function wasRefused(socket: Duplex): boolean {
  return (socket as CallerSocket)[CONNECTION]?.isRefused === true;
}

/** Notes that a request on this connection was refused in such a way. */
export function noteRefused(socket: Duplex): void {
  connectionOf(socket).isRefused = true;
}

/**
 * Emitted on a request whose body cannot be read further. A listener has already written our response and now ends it.
 */
export const REQUEST_ABORTED = Symbol('request aborted');

/** The property under which a socket carries its connection. */
const CONNECTION = Symbol('connection');

type CallerSocket = Duplex & { [CONNECTION]?: Connection };

function connectionOf(socket: CallerSocket): Connection {
  const known = socket[CONNECTION];
  if (known) return known;
  const address = addressOf(socket);
  const connection: Connection = { open: new Set(), isBroken: false, isRefused: false, address, onIdle: null };
  socket[CONNECTION] = connection;
  socket.once('close', () => {
    // Node's own listeners come first: they close the response whose turn it was.
    process.nextTick(() => {
      for (const { response } of [...connection.open]) response.emit('close');
    });
  });
  return connection;
}

function addressOf(socket: CallerSocket): string {
  return socket[CONNECTION]?.address ?? withoutMapping((socket as Socket).remoteAddress ?? 'local');
}

/** Notes an exchange on its connection until it is over. */
export function enterConnection(exchange: OpenExchange): void {
  const connection = connectionOf(exchange.request.socket);
  connection.open.add(exchange);
  exchange.response.once('close', () => {
    connection.open.delete(exchange);
    exchange.onOver();
    if (connection.open.size === 0) connection.onIdle?.();
  });
}

/**
 * Calls `respond` when something can be written on a connection past its exchanges: at once, or after the responses to
 * earlier requests. A request that broke off in its body is given up for it. Where half a response of the upstream was
 * written already, the socket is destroyed instead. Only the first call has an effect: the connection ends with it.
 */
export function respondLast(socket: Duplex, respond: () => void): void {
  const connection = connectionOf(socket);
  if (connection.isBroken) return;
  connection.isBroken = true;
  const open = [...connection.open];
  const last = open.at(-1);
  if (last === undefined) respond();
  else if (last.request.complete) connection.onIdle = respond;
  else if (open.length === 1 && !last.response.headersSent) {
    respond();
    last.onOver();
  } else if (!last.request.emit(REQUEST_ABORTED)) socket.destroy();
}

/** Ends a connection after the responses in progress on it: those that have not begun say `Connection: close`. */
export function endAfterResponses(socket: Duplex): void {
  for (const { response } of (socket as CallerSocket)[CONNECTION]?.open ?? [])
    if (!response.headersSent) response.shouldKeepAlive = false;
}

/**
 * The proxies whose X-Forwarded-For is believed, and who the peer behind them is: for records, for slowing down failed
 * authentication, and for clients that may call from some addresses only. An address alone gives no rights.
 */
export class TrustedProxies {
  readonly #proxies: AddressBlocks;

  /** `trusted` are addresses and CIDR ranges. Throws a TypeError for what is neither. */
  constructor(trusted: readonly string[]) {
    this.#proxies = new AddressBlocks(trusted);
  }

  /** The address a request comes from: the socket's, or what trusted proxies say. `local`: the socket has none. */
  peerOf(request: IncomingMessage): string {
    const direct = addressOf(request.socket);
    if (this.#proxies.isEmpty || !this.#proxies.has(direct)) return direct;
    // From the right: each trusted proxy vouches for the one before it, and the first that is not trusted is the peer.
    const forwarded = request.headers['x-forwarded-for'];
    const chain = lastOf(Array.isArray(forwarded) ? forwarded.join(',') : (forwarded ?? '')).split(',');
    for (const part of chain.reverse()) {
      const told = withoutPort(part.trim());
      // A zone means something to the machine that has it alone.
      const address = told.includes('%') ? null : canonicalAddress(told);
      if (address === null) return direct;
      if (!this.#proxies.has(address)) return address;
    }
    return direct;
  }
}

/** Headers by which a proxy tells that a request comes from elsewhere; some send one of these alone. */
const FORWARDED =
  /^(?:x-forwarded(?:-.*)?|x-(?:real|client|cluster-client|original)-ip|x-original-host|forwarded|via|.*-connecting-ip|true-client-ip)$/;

/** Whether a request says that a proxy passed it on: whoever sent it need not be where its connection comes from. */
export function isForwarded(headers: IncomingMessage['headers']): boolean {
  return Object.keys(headers).some((name) => FORWARDED.test(name));
}

/** So much of a chain is looked at, from its end: more proxies than that nobody has. */
const LONGEST_CHAIN = 2048;

function lastOf(chain: string): string {
  return chain.length <= LONGEST_CHAIN ? chain : chain.slice(chain.indexOf(',', chain.length - LONGEST_CHAIN) + 1);
}

/** Some proxies tell the port as well: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(text: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\](?::\d+)?|(\d[\d.]*):\d+)$/.exec(text) ?? [];
  return bracketed ?? plain ?? text;
}
