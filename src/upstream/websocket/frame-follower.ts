// Follows where WebSocket frames begin and end (RFC 6455, section 5.2) in octets that pass by. Reads frame headers and
// close codes, nothing else: it keeps no payload, takes no mask off, and judges nothing, so that whatever both ends
// agreed on passes as it is.

const CLOSE = 0x8;
/** First two octets, 64-bit length, mask, and the two octets of a close code. */
const LONGEST_HEAD = 2 + 8 + 4 + 2;

/** One direction of one connection. */
export class FrameFollower {
  /** The code of the first close frame that passed, 1005 for one without; null while there was none. */
  closeCode: number | null = null;
  readonly #head = new Uint8Array(LONGEST_HEAD);
  #headLength = 0;
  #headNeeded = 2;
  #payloadLeft = 0;

  /** Whether the octets so far end with a whole frame: only there may a frame of our own be put in. */
  get isAtBoundary(): boolean {
    return this.#headLength === 0 && this.#payloadLeft === 0;
  }

  /**
   * Takes note of octets and gives how many: all of them, or with `toBoundary` at most those up to the end of the frame
   * that is under way.
   */
  follow(chunk: Uint8Array, toBoundary = false): number {
    let at = 0;
    if (toBoundary && this.isAtBoundary) return at;
    while (at < chunk.length) {
      if (this.#payloadLeft > 0) {
        const passed = Math.min(this.#payloadLeft, chunk.length - at);
        this.#payloadLeft -= passed;
        at += passed;
      } else {
        this.#head[this.#headLength++] = chunk[at++] as number;
        if (this.#headLength === 2) this.#headNeeded = headLength(this.#head);
        if (this.#headLength === this.#headNeeded) this.#endHead();
      }
      if (toBoundary && this.isAtBoundary) break;
    }
    return at;
  }

  #endHead(): void {
    const head = this.#head;
    const short = (head[1] as number) & 0x7f;
    const octets = new DataView(head.buffer);
    this.#payloadLeft = short < 126 ? short : short === 126 ? octets.getUint16(2) : Number(octets.getBigUint64(2));
    if (((head[0] as number) & 0x0f) === CLOSE) {
      const hasCode = hasCloseCode(head);
      this.closeCode ??= hasCode ? closeCode(head, this.#headNeeded) : 1005;
      if (hasCode) this.#payloadLeft -= 2;
    }
    this.#headLength = 0;
    this.#headNeeded = 2;
  }
}

/** How long the head is that begins with these two octets; of a close frame its code counts as head. */
function headLength(head: Uint8Array): number {
  const short = (head[1] as number) & 0x7f;
  const lengthOctets = short < 126 ? 0 : short === 126 ? 2 : 8;
  return 2 + lengthOctets + (isMasked(head) ? 4 : 0) + (hasCloseCode(head) ? 2 : 0);
}

function isMasked(head: Uint8Array): boolean {
  return ((head[1] as number) & 0x80) !== 0;
}

function hasCloseCode(head: Uint8Array): boolean {
  const short = (head[1] as number) & 0x7f;
  return ((head[0] as number) & 0x0f) === CLOSE && short >= 2 && short < 126;
}

function closeCode(head: Uint8Array, end: number): number {
  const mask = isMasked(head) ? [head[end - 6], head[end - 5]] : [0, 0];
  return (((head[end - 2] as number) ^ (mask[0] as number)) << 8) | ((head[end - 1] as number) ^ (mask[1] as number));
}

/**
 * A close frame with a code and perhaps words; `mask` (4 octets) where a client speaks (RFC 6455, section 5.3). The
 * payload is below 126 octets.
 */
export function closeFrame(code: number, mask: Uint8Array | null = null, words = ''): Buffer {
  const payload = [code >> 8, code & 0xff, ...Buffer.from(words)];
  if (mask === null) return Buffer.from([0x80 | CLOSE, payload.length, ...payload]);
  return Buffer.from([
    0x80 | CLOSE,
    0x80 | payload.length,
    ...mask,
    ...payload.map((octet, index) => octet ^ (mask[index % 4] as number)),
  ]);
}
