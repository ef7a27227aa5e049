// Per-connection state: exchanges in progress, and whether the connection can still be used. Sends nothing. Older Nodes
// tell a response that its connection is gone only when its turn has come: those that wait behind it (pipelining) are
// closed here.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** An exchange as its connection sees it. */
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

/** Notes such a refusal. */
export function noteRefused(socket: Duplex): void {
  connectionOf(socket).isRefused = true;
}

/**
 * Event of a request whose body cannot be read on. Who listens has written an answer of ours already, and ends it now.
 */
export const REQUEST_ABORTED = Symbol('broken');

/** The property under which a socket carries its connection. */
const CONNECTION = Symbol('connection');

type CallerSocket = Duplex & { [CONNECTION]?: Connection };

function connectionOf(socket: CallerSocket): Connection {
  const known = socket[CONNECTION];
  if (known) return known;
  const connection: Connection = { open: new Set(), isBroken: false, isRefused: false, onIdle: null };
  socket[CONNECTION] = connection;
  socket.once('close', () => {
    // Node's own listeners come first: they close the response whose turn it was.
    process.nextTick(() => {
      for (const { response } of [...connection.open]) response.emit('close');
    });
  });
  return connection;
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
 * Calls `answer` when something can be written on a connection past its exchanges: at once, or after the answers that
 * are owed for earlier requests. A request that broke off in its body is given up for it. Where half an answer of the
 * upstream's stands already, the socket is destroyed instead. Only the first call has an effect: the connection ends
 * with it.
 */
export function answerLast(socket: Duplex, answer: () => void): void {
  const connection = connectionOf(socket);
  if (connection.isBroken) return;
  connection.isBroken = true;
  const open = [...connection.open];
  const last = open.at(-1);
  if (last === undefined) answer();
  else if (last.request.complete) connection.onIdle = answer;
  else if (open.length === 1 && !last.response.headersSent) {
    answer();
    last.onOver();
  } else if (!last.request.emit(REQUEST_ABORTED)) socket.destroy();
}

/** Lets a connection end with the answers that are owed on it: those that have not begun say `Connection: close`. */
export function endAfterAnswers(socket: Duplex): void {
  for (const { response } of (socket as CallerSocket)[CONNECTION]?.open ?? [])
    if (!response.headersSent) response.shouldKeepAlive = false;
}
