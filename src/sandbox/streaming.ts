// The streaming host: GET /channels/{id} upgraded to a WebSocket, heartbeats, and events to the channels subscribed to
// a topic. As on the platform, the id in the path is the only credential; only headers of the handshake are read.

import { createHash } from 'node:crypto';
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Channel } from './channels.ts';
import type { SandboxRequest } from './events.ts';
import { SIMULATION_HEADER, splitTarget } from './exchange.ts';
import { PlatformError } from './faults.ts';
import type { SandboxState } from './state.ts';
import { ServerSocket } from './websocket.ts';

const HANDSHAKE_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** The live sockets. */
export interface Streaming {
  /** Begins the heartbeats; `close` ends them. */
  start(): void;
  /** Accepts or refuses an upgrade. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, record: SandboxRequest): void;
  /** Sends `channel.metadata` to every socket, and closes those whose token or channel has ended. */
  heartbeat(): Promise<void>;
  /** Sends an event to every socket subscribed to the topic; gives how many. */
  notify(topicName: string, eventBody: unknown): Promise<number>;
  /** The socket of a channel, for a test to send raw texts, ping or close. */
  socketOf(channelId: string): ServerSocket | undefined;
  count(): number;
  close(): void;
}

export function createStreaming(sandbox: SandboxState, heartbeatMs: number): Streaming {
  const sockets = new Map<string, ServerSocket>();
  let timer: NodeJS.Timeout | undefined;

  function accept(channel: Channel, socket: Duplex): void {
    const { emitter } = sandbox.events;
    const channelId = channel.id;
    // One socket a channel: a newer one takes the place of the older.
    channel.socket?.close(1000, 'replaced by a newer connection');
    const live = new ServerSocket(socket, {
      onText(text) {
        emitter.emit('message', { channelId, text });
        if (isPing(text))
          void live.send(JSON.stringify({ topicName: 'channel.metadata', eventBody: { message: 'pong' } }));
      },
      onPong: (payload) => emitter.emit('pong', { channelId, payload }),
      onClose(code, reason) {
        if (sockets.get(channelId) === live) sockets.delete(channelId);
        if (channel.socket === live) channel.socket = undefined;
        emitter.emit('socketClose', { channelId, code, reason });
      },
    });
    channel.socket = live;
    sockets.set(channelId, live);
  }

  async function heartbeat(): Promise<void> {
    sandbox.channels.closeOrphans(sandbox.tokens);
    for (const channelId of sockets.keys()) sandbox.channels.find(channelId);
    const text = JSON.stringify({ topicName: 'channel.metadata', eventBody: { message: 'WebSocket Heartbeat' } });
    await Promise.all([...sockets.values()].map((socket) => socket.send(text)));
  }

  return {
    start() {
      timer = setInterval(() => void heartbeat(), heartbeatMs);
      timer.unref();
    },
    upgrade(req, socket, head, record) {
      const { path } = splitTarget(req.url ?? '');
      const channel = sandbox.channels.find(path.slice('/channels/'.length));
      const refused = sandbox.switches.take('refuseSocket', { method: 'GET', path });
      const key = handshakeKey(req);
      if (refused)
        return refuse(
          sandbox,
          socket,
          record,
          new PlatformError(refused.status, 'service.unavailable', 'The socket is refused, as asked for.'),
        );
      if (!path.startsWith('/channels/') || !channel)
        return refuse(sandbox, socket, record, new PlatformError(404, 'not.found', 'No such channel.'));
      if (key === undefined)
        return refuse(sandbox, socket, record, new PlatformError(400, 'bad.request', 'Not a WebSocket handshake.'));
      const answer = createHash('sha1').update(`${key}${HANDSHAKE_GUID}`).digest('base64');
      const lines = [
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Accept: ${answer}`,
        `${SIMULATION_HEADER.name}: ${SIMULATION_HEADER.value}`,
      ];
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
      if (head.length > 0) socket.unshift(head);
      record.status = 101;
      accept(channel, socket);
      sandbox.events.emitter.emit('answer', record);
    },
    heartbeat,
    async notify(topicName, eventBody) {
      const subscribed = [...sandbox.channels.all()].filter(
        (channel) => channel.topics.has(topicName) && channel.socket,
      );
      const text = JSON.stringify({ topicName, version: '2', eventBody, metadata: { CorrelationId: 'simulated' } });
      await Promise.all(subscribed.map((channel) => channel.socket?.send(text)));
      return subscribed.length;
    },
    socketOf: (channelId) => sockets.get(channelId),
    count: () => sockets.size,
    close() {
      clearInterval(timer);
      for (const socket of sockets.values()) socket.destroy();
    },
  };
}

/** The key of a valid handshake (RFC 6455 section 4.2.1). */
function handshakeKey(req: IncomingMessage): string | undefined {
  const key = req.headers['sec-websocket-key'];
  const valid =
    req.method === 'GET' &&
    req.headers.upgrade?.toLowerCase() === 'websocket' &&
    req.headers['sec-websocket-version'] === '13';
  return valid && key !== undefined && Buffer.from(key, 'base64').length === 16 ? key : undefined;
}

function refuse(sandbox: SandboxState, socket: Duplex, record: SandboxRequest, error: PlatformError): void {
  const body = JSON.stringify(error.body(record.correlationId));
  const lines = [
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `ININ-Correlation-Id: ${record.correlationId}`,
    'Connection: close',
    `${SIMULATION_HEADER.name}: ${SIMULATION_HEADER.value}`,
  ];
  // The client may have disconnected already, which is no error here.
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? 'Refused'}\r\n${lines.join('\r\n')}\r\n\r\n${body}`,
  );
  record.status = error.status;
  sandbox.events.emitter.emit('answer', record);
}

function isPing(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'message' in value && value.message === 'ping';
  } catch {
    return false;
  }
}
