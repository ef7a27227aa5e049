// HTTP/1.1 by hand over a socket: for what clients refuse to send, and to see octets as they are.

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';

/**
 * Sends `text` (latin1) to a port and resolves with everything that came back until the peer ended, or until `isDone`
 * says so.
 */
export async function exchangeRaw(
  port: number,
  text: string | Buffer,
  isDone: (received: string) => boolean = isOneAnswer,
  host = '127.0.0.1',
): Promise<string> {
  const socket = connect(port, host);
  await once(socket, 'connect');
  socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  let received = '';
  socket.setEncoding('latin1');
  socket.on('error', () => {});
  return new Promise((resolve) => {
    const finish = () => {
      socket.destroy();
      resolve(received);
    };
    socket.on('data', (chunk: string) => {
      received += chunk;
      if (isDone(received)) finish();
    });
    socket.on('close', finish);
  });
}

/** Whether `received` holds one whole answer (by Content-Length, chunked end, or a bodiless status). */
export function isOneAnswer(received: string): boolean {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const head = received.slice(0, end);
  if (/^HTTP\/1\.1 (1\d\d|204|304) /.test(head))
    return !/^HTTP\/1\.1 1/.test(head) || isOneAnswer(received.slice(end + 4));
  const length = /^content-length: *(\d+)/im.exec(head);
  if (length) return received.length >= end + 4 + Number(length[1]);
  if (/^transfer-encoding: *chunked/im.test(head)) return received.endsWith('0\r\n\r\n');
  return false;
}

/** An answer taken apart: status line, header lines in order, body with chunking undone. */
export interface RawAnswer {
  readonly statusLine: string;
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

/** Takes an answer apart. */
export function parseAnswer(received: string): RawAnswer {
  const end = received.indexOf('\r\n\r\n');
  const [statusLine = '', ...lines] = received.slice(0, end).split('\r\n');
  const headers = lines.map(
    (line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()] as const,
  );
  const rest = received.slice(end + 4);
  const chunked = headers.some(([name, value]) => name.toLowerCase() === 'transfer-encoding' && value === 'chunked');
  return { statusLine, status: Number(statusLine.split(' ')[1]), headers, body: chunked ? unchunk(rest) : rest };
}

/** The first value of a header. */
export function headerOf(answer: RawAnswer, name: string): string | undefined {
  return answer.headers.find(([field]) => field.toLowerCase() === name.toLowerCase())?.[1];
}

function unchunk(text: string): string {
  let rest = text;
  let body = '';
  for (;;) {
    const end = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.slice(0, end), 16);
    if (!size) return body;
    body += rest.slice(end + 2, end + 2 + size);
    rest = rest.slice(end + 2 + size + 2);
  }
}

/** A TCP server that hands each connection to `onSocket`; it and its sockets end with the test. */
export async function startRawServer(
  t: Test,
  onSocket: (socket: Socket) => void,
): Promise<{ port: number; origin: string; server: Server; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(
    () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  );
  const { port } = server.address() as { port: number };
  return { port, origin: `http://127.0.0.1:${port}`, server, sockets };
}

/**
 * A raw upstream: each request (head and, by Content-Length, body) is given to `answer`, which writes what it likes.
 */
export async function startRawUpstream(
  t: Test,
  answer: (socket: Socket, request: string) => void,
): Promise<{ port: number; origin: string; requests: string[]; sockets: Set<Socket> }> {
  const requests: string[] = [];
  const { port, origin, sockets } = await startRawServer(t, (socket) => {
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      received += chunk;
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/^content-length: *(\d+)/im.exec(received.slice(0, end))?.[1] ?? 0);
      const isChunked = /^transfer-encoding: *chunked/im.test(received.slice(0, end));
      if (isChunked ? !received.endsWith('0\r\n\r\n') : received.length < end + 4 + length) return;
      const request = received;
      received = '';
      requests.push(request);
      answer(socket, request);
    });
  });
  return { port, origin, requests, sockets };
}
