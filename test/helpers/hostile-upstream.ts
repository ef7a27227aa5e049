// An upstream that misbehaves at every stage: a plain TCP server (TLS where asked), driven by what a test says. It ends
// with the test.

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Test } from 'tap';

/** What the upstream does. Every function may write, end, reset, or do nothing, which is a hang. */
export interface Misbehaviour {
  /** As soon as a connection stands, before anything is read. */
  onConnection?(socket: Socket): void;
  /** When the head of a request is there; its body may still be on its way. `nth` counts from 1. */
  onHead?(socket: Socket, nth: number): void;
  /** When a request is there whole. */
  onRequest?(socket: Socket, nth: number): void;
}

export interface HostileUpstream {
  readonly origin: string;
  readonly port: number;
  /** Request lines, in order: how often the upstream saw the call. */
  readonly seen: string[];
  /** Connections that were accepted. */
  connections(): number;
  /** Connections are refused from now on. */
  stopListening(): Promise<void>;
  /** Accepts them again, at the same address. */
  listenAgain(): Promise<void>;
}

export interface HostileOptions {
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Answers with FIN only when told to: the other side may still send. */
  readonly allowHalfOpen?: boolean;
}

/** Starts one. The name in `origin` is an address, so that only a certificate for it would be right. */
export async function startHostileUpstream(
  t: Test,
  does: Misbehaviour,
  { tls, allowHalfOpen = false }: HostileOptions = {},
): Promise<HostileUpstream> {
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const serve = (socket: Socket) => {
    socket.on('error', () => {});
    does.onConnection?.(socket);
    readRequests(
      socket,
      (line) => {
        seen.push(line);
        does.onHead?.(socket, seen.length);
      },
      () => does.onRequest?.(socket, seen.length),
    );
  };
  const server: Server = tls
    ? createTlsServer({ ...tls, allowHalfOpen }, serve)
    : createServer({ allowHalfOpen }, serve);
  server.on('tlsClientError', () => {});
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    origin: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    seen,
    connections: () => connections,
    async stopListening() {
      server.close();
      await once(server, 'close');
    },
    async listenAgain() {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
  };
}

/** Follows the requests on a connection by Content-Length or the last chunk. */
function readRequests(socket: Socket, onHead: (line: string) => void, onWhole: () => void): void {
  let received = '';
  let isHeadSeen = false;
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    received += chunk;
    const end = received.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = received.slice(0, end);
    if (!isHeadSeen) {
      isHeadSeen = true;
      onHead(head.slice(0, head.indexOf('\r\n')));
    }
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    const isWhole = /^transfer-encoding: *chunked/im.test(head)
      ? received.endsWith('0\r\n\r\n')
      : received.length >= end + 4 + length;
    if (!isWhole) return;
    received = '';
    isHeadSeen = false;
    onWhole();
  });
}

/** Writes `text` again and again, with a turn of the event loop in between, until the connection is gone. */
export function flood(socket: Socket, text: string, everyMs = 0): void {
  const timer = setInterval(() => {
    if (socket.destroyed) clearInterval(timer);
    else socket.write(text);
  }, everyMs);
  socket.once('close', () => clearInterval(timer));
}
