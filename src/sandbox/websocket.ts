// The server side of a WebSocket (RFC 6455) on a raw socket: frames, fragmented messages, pings, the closing handshake.
// It knows nothing of channels.

import type { Duplex } from 'node:stream';

/** What the owner of a socket is told. `onClose` is called exactly once; its code is 1006 without a close frame. */
export interface WebSocketEvents {
  onText(text: string): void;
  onPong(payload: Buffer): void;
  onClose(code: number, reason: string): void;
}

const MAX_MESSAGE_BYTES = 1024 * 1024;
/** A reader this far behind is cut off, unless senders wait for `send`. */
const MAX_UNSENT_BYTES = 64 * 1024 * 1024;
const CLOSE_WAIT_MS = 1000;

/** An open socket. Sending resolves when the octets have been handed to the system, so awaiting it is back-pressure. */
export class ServerSocket {
  readonly #socket: Duplex;
  readonly #events: WebSocketEvents;
  readonly #readFrames = createFrameReader(MAX_MESSAGE_BYTES);
  /** The parts so far of the message that is being received. */
  #fragments: Buffer[] = [];
  #fragmentBytes = 0;
  /** Whether a message has begun and not ended, and whether it is text. */
  #isAssembling = false;
  #isText = true;
  /** Whether a close frame was sent. */
  #isClosing = false;
  /** How the client closed; nothing more is read after it. */
  #received: { readonly code: number; readonly reason: string } | undefined;
  #deadline: NodeJS.Timeout | undefined;

  constructor(socket: Duplex, events: WebSocketEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    // The close event that follows an error is enough.
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.once('close', () => {
      clearTimeout(this.#deadline);
      events.onClose(this.#received?.code ?? 1006, this.#received?.reason ?? '');
    });
  }

  send(message: string): Promise<void> {
    return this.#write(OPCODE.text, Buffer.from(message));
  }

  ping(payload: Buffer = Buffer.alloc(0)): Promise<void> {
    return this.#write(OPCODE.ping, payload.subarray(0, 125));
  }

  /** Starts the closing handshake; the connection is dropped after a second without an answer. */
  close(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason).subarray(0, 123)]);
    void this.#write(OPCODE.close, payload);
    this.#deadline = setTimeout(() => this.#socket.destroy(), CLOSE_WAIT_MS);
    this.#deadline.unref();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #write(opcode: number, payload: Buffer): Promise<void> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      if (socket.destroyed || socket.writableEnded) return resolve();
      if (socket.writableLength > MAX_UNSENT_BYTES) socket.destroy();
      socket.write(encodeFrame(opcode, payload), () => resolve());
    });
  }

  #read(chunk: Buffer): void {
    if (this.#received) return;
    try {
      for (const frame of this.#readFrames(chunk)) if (!this.#received) this.#take(frame);
    } catch (error) {
      const isBreach = error instanceof FrameError;
      this.close(isBreach ? error.closeCode : 1011, isBreach ? error.message : 'failed');
      this.#socket.end();
      this.#received = { code: 1006, reason: '' };
    }
  }

  #take({ opcode, payload, final }: Frame): void {
    if (opcode === OPCODE.ping) void this.#write(OPCODE.pong, payload);
    else if (opcode === OPCODE.pong) this.#events.onPong(payload);
    else if (opcode === OPCODE.close) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.#received = { code, reason: payload.subarray(2).toString('utf8') };
      if (!this.#isClosing) void this.#write(OPCODE.close, payload.subarray(0, 2));
      this.#isClosing = true;
      this.#socket.end();
    } else this.#takeMessagePart({ opcode, payload, final });
  }

  #takeMessagePart({ opcode, payload, final }: Frame): void {
    if ((opcode === OPCODE.continuation) !== this.#isAssembling) throw new FrameError(1002, 'fragments out of order');
    if (opcode !== OPCODE.continuation) this.#isText = opcode === OPCODE.text;
    this.#fragmentBytes += payload.length;
    if (this.#fragmentBytes > MAX_MESSAGE_BYTES) throw new FrameError(1009, 'message too big');
    this.#fragments.push(payload);
    this.#isAssembling = !final;
    if (!final) return;
    const message = Buffer.concat(this.#fragments);
    this.#fragments = [];
    this.#fragmentBytes = 0;
    if (!this.#isText) throw new FrameError(1003, 'only text is understood');
    this.#events.onText(message.toString('utf8'));
  }
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
