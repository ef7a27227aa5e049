// The server side of a WebSocket (RFC 6455) on a raw socket: frames, messages put together, pings answered, the closing
// handshake. Knows nothing of channels.

import type { Duplex } from 'node:stream';

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
      close(
        error instanceof FrameError ? error.closeCode : 1011,
        error instanceof FrameError ? error.message : 'failed',
      );
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

/** Opcodes the simulation speaks. */
export const OPCODE = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

/** One frame as it came, unmasked. */
export interface Frame {
  final: boolean;
  opcode: number;
  payload: Buffer;
}

/** A breach of the protocol, with the close code it is answered with. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
  readonly closeCode: number;

  constructor(closeCode: number, message: string) {
    super(message);
    this.closeCode = closeCode;
  }
}

/** An unmasked frame, complete in itself, as servers send them. */
export function encodeFrame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/**
 * Gives a function that takes octets as they come and yields the frames completed by them. It throws FrameError for an
 * unmasked frame, reserved bits or opcodes, a fragmented or long control frame, and a payload over `maxPayloadBytes`;
 * the frames before it are yielded, and nothing may be read after it.
 */
export function createFrameReader(maxPayloadBytes: number): (chunk: Buffer) => Generator<Frame> {
  let buffered: Buffer = Buffer.alloc(0);
  return function* (chunk) {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    for (let read = readFrame(buffered, maxPayloadBytes); read; read = readFrame(buffered, maxPayloadBytes)) {
      buffered = buffered.subarray(read.length);
      yield read.frame;
    }
  };
}

function readFrame(octets: Buffer, maxPayloadBytes: number): { frame: Frame; length: number } | undefined {
  if (octets.length < 2) return undefined;
  const [first, second] = [octets.readUInt8(0), octets.readUInt8(1)];
  const opcode = first & 0x0f;
  const final = (first & 0x80) !== 0;
  assertFrameHead(first, second, opcode, final);
  const short = second & 0x7f;
  const maskAt = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (octets.length < maskAt) return undefined;
  const size = short < 126 ? short : short === 126 ? octets.readUInt16BE(2) : Number(octets.readBigUInt64BE(2));
  if (size > maxPayloadBytes) throw new FrameError(1009, 'message too big');
  const length = maskAt + 4 + size;
  if (octets.length < length) return undefined;
  const mask = octets.subarray(maskAt, maskAt + 4);
  const payload = Buffer.from(octets.subarray(maskAt + 4, length));
  for (let index = 0; index < size; index++) payload[index] = (payload[index] ?? 0) ^ (mask[index & 3] ?? 0);
  return { frame: { final, opcode, payload }, length };
}

function assertFrameHead(first: number, second: number, opcode: number, final: boolean): void {
  if ((first & 0x70) !== 0) throw new FrameError(1002, 'reserved bits are set');
  if (!Object.values<number>(OPCODE).includes(opcode)) throw new FrameError(1002, 'unknown opcode');
  if ((second & 0x80) === 0) throw new FrameError(1002, 'client frames must be masked');
  if (opcode >= OPCODE.close && (!final || (second & 0x7f) > 125))
    throw new FrameError(1002, 'a control frame is fragmented or too long');
}
