// One accepted WebSocket on a raw socket: messages put together, pings answered, the closing handshake. Knows nothing of channels.

import type { Duplex } from 'node:stream';
import { createFrameReader, encodeFrame, type Frame, FrameError, OPCODE } from './websocket-frames.ts';

/** What the owner of a socket hears. `onClose` comes exactly once; 1006 when there was no close frame. */
export interface WebSocketEvents {
  onText(text: string): void;
  onPong(payload: Buffer): void;
  onClose(code: number, reason: string): void;
}

/** An open socket. Sending resolves when the octets have been handed to the system, so awaiting it is back-pressure. */
export interface ServerSocket {
  send(text: string): Promise<void>;
  ping(payload?: Buffer): Promise<void>;
  /** Starts the closing handshake; the connection is dropped after a second without an answer. */
  close(code: number, reason: string): void;
  destroy(): void;
}

const MAX_MESSAGE_BYTES = 1024 * 1024;
/** A reader this far behind is cut off, unless senders wait for `send`. */
const MAX_UNSENT_BYTES = 64 * 1024 * 1024;
const CLOSE_WAIT_MS = 1000;

export function createServerSocket(socket: Duplex, events: WebSocketEvents): ServerSocket {
  const readFrames = createFrameReader(MAX_MESSAGE_BYTES);
  let fragments: Buffer[] = [];
  let fragmentBytes = 0;
  let assembling = false;
  let text = true;
  let closing = false;
  let received: { code: number; reason: string } | undefined;
  let deadline: NodeJS.Timeout | undefined;

  function write(opcode: number, payload: Buffer): Promise<void> {
    return new Promise((resolve) => {
      if (socket.destroyed || socket.writableEnded) return resolve();
      if (socket.writableLength > MAX_UNSENT_BYTES) socket.destroy();
      socket.write(encodeFrame(opcode, payload), () => resolve());
    });
  }

  function close(code: number, reason: string): void {
    if (closing) return;
    closing = true;
    const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason).subarray(0, 123)]);
    void write(OPCODE.close, payload);
    deadline = setTimeout(() => socket.destroy(), CLOSE_WAIT_MS);
    deadline.unref();
  }

  function takeMessagePart({ opcode, payload, final }: Frame): void {
    if ((opcode === OPCODE.continuation) !== assembling) throw new FrameError(1002, 'fragments out of order');
    if (opcode !== OPCODE.continuation) text = opcode === OPCODE.text;
    fragmentBytes += payload.length;
    if (fragmentBytes > MAX_MESSAGE_BYTES) throw new FrameError(1009, 'message too big');
    fragments.push(payload);
    assembling = !final;
    if (!final) return;
    const message = Buffer.concat(fragments);
    fragments = [];
    fragmentBytes = 0;
    if (!text) throw new FrameError(1003, 'only text is understood');
    events.onText(message.toString('utf8'));
  }

  function take(frame: Frame): void {
    if (frame.opcode === OPCODE.ping) void write(OPCODE.pong, frame.payload);
    else if (frame.opcode === OPCODE.pong) events.onPong(frame.payload);
    else if (frame.opcode === OPCODE.close) {
      const code = frame.payload.length >= 2 ? frame.payload.readUInt16BE(0) : 1005;
      received = { code, reason: frame.payload.subarray(2).toString('utf8') };
      if (!closing) void write(OPCODE.close, frame.payload.subarray(0, 2));
      closing = true;
      socket.end();
    } else takeMessagePart(frame);
  }

  socket.on('data', (chunk: Buffer) => {
    if (received) return;
    try {
      for (const frame of readFrames(chunk)) if (!received) take(frame);
    } catch (error) {
      close(error instanceof FrameError ? error.closeCode : 1011, error instanceof FrameError ? error.message : 'failed');
      socket.end();
      received = { code: 1006, reason: '' };
    }
  });
  // A reset says no more than the close that follows it.
  socket.on('error', () => {});
  socket.on('end', () => socket.end());
  socket.once('close', () => {
    clearTimeout(deadline);
    events.onClose(received?.code ?? 1006, received?.reason ?? '');
  });

  return {
    send: (message) => write(OPCODE.text, Buffer.from(message)),
    ping: (payload = Buffer.alloc(0)) => write(OPCODE.ping, payload.subarray(0, 125)),
    close,
    destroy: () => socket.destroy(),
  };
}
