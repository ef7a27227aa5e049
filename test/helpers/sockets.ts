// Notification sockets for tests: a channel made through a gateway, npm ws as its client, and whatever is said on it,
// in order.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import WebSocket, { type ClientOptions } from 'ws';
import { listenFor, type TearsDown } from './egress.ts';

/** A channel as the API describes it. */
export interface MadeChannel {
  readonly id: string;
  readonly connectUri: string;
  readonly expires: string;
}

/** Makes a channel through the gateway at `url`. */
export async function makeChannel(
  url: string,
  headers: Record<string, string> = {},
  prefix = '',
): Promise<MadeChannel> {
  const answer = await fetch(`${url}${prefix}/api/v2/notifications/channels`, { method: 'POST', headers });
  if (answer.status !== 200) throw new Error(`no channel: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as MadeChannel;
}

/** Opens a socket that ends with the test; rejects when it is refused. */
export async function openWebSocket(
  t: TearsDown,
  uri: string,
  options: ClientOptions = {},
  protocols: string[] = [],
): Promise<WebSocket> {
  const socket = new WebSocket(uri, protocols, options);
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}

/** How the upgrade is refused: status, X-Gateway-Error, body. */
export function refusalOf(
  uri: string,
  options: ClientOptions = {},
): Promise<{ status: number; code: string | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(uri, options);
    socket.on('error', reject);
    socket.on('open', () => {
      socket.terminate();
      resolve({ status: 101, code: undefined, body: '' });
    });
    socket.on('unexpected-response', async (_request, answer) => {
      let body = '';
      for await (const chunk of answer) body += chunk;
      resolve({ status: answer.statusCode ?? 0, code: answer.headers['x-gateway-error'] as string | undefined, body });
    });
  });
}

/** The next messages of a socket, parsed, from now on. */
export function nextMessages(socket: WebSocket, count: number): Promise<unknown[]> {
  return new Promise((resolve) => {
    const messages: unknown[] = [];
    socket.on('message', function take(data) {
      messages.push(JSON.parse(data.toString()));
      if (messages.length < count) return;
      socket.off('message', take);
      resolve(messages);
    });
  });
}

/** Resolves with the code and the words of a socket's end. */
export async function closeOf(socket: WebSocket): Promise<{ code: number; reason: string }> {
  const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
  return { code, reason: reason.toString() };
}

/** An upstream that knows the token endpoint and the channel API, and leaves the sockets to the test. */
export interface StreamingUpstream {
  readonly origin: string;
  /** Connections open at the moment. */
  readonly connections: Set<Socket>;
  /** The connectUri that the API answers with. */
  uri: (id: string) => string;
}

/** Starts one, over TLS where material is given; it ends with the test. */
export async function startStreamingUpstream(
  t: TearsDown,
  onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void,
  tls?: { key: string; cert: string },
): Promise<StreamingUpstream> {
  let count = 0;
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    request.resume().on('end', () => {
      const id = `channel-${++count}`;
      const answer =
        request.url === '/oauth/token'
          ? { access_token: 'an-opaque-token', token_type: 'bearer', expires_in: 86_400 }
          : { connectUri: upstream.uri(id), id, expires: new Date(Date.now() + 86_400_000).toISOString() };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
  };
  const server = tls ? createTlsServer(tls, serve) : createServer(serve);
  const connections = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    onUpgrade(request, socket, head);
  });
  const port = await listenFor(t, server);
  const origin = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const upstream: StreamingUpstream = {
    origin,
    connections,
    uri: (id) => `${origin.replace('http', 'ws')}/channels/${id}`,
  };
  return upstream;
}

/** Answers a handshake by hand. */
export function acceptHandshake(request: IncomingMessage, socket: Duplex, lines = ''): void {
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ` +
      `${accept}\r\n${lines}\r\n`,
  );
}
