// WebSocket frames (RFC 6455 section 5), server side: encoding, and an incremental reader that enforces the protocol. No sockets here.

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
 * Gives a function that takes octets as they come and yields the frames completed by them. It throws FrameError for an unmasked frame,
 * reserved bits or opcodes, a fragmented or long control frame, and a payload over `maxPayloadBytes`; the frames before it are yielded, and nothing may be read after it.
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
  if (opcode >= OPCODE.close && (!final || (second & 0x7f) > 125)) throw new FrameError(1002, 'a control frame is fragmented or too long');
}
