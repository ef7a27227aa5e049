// Undoes content encodings for the log only: bounded in output, tolerant of a body that was cut. The traffic itself is never decoded.

import { brotliDecompressSync, constants, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';

/** What came out, at most the limit. `isWhole`: nothing is missing at the end. */
export interface Decoded {
  readonly bytes: Buffer;
  readonly isWhole: boolean;
}

type Decode = (input: Buffer, maxOutputLength: number) => Buffer;

const decoders: Readonly<Record<string, Decode>> = {
  gzip: (input, maxOutputLength) => gunzipSync(input, { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH }),
  deflate: (input, maxOutputLength) => {
    const options = { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH };
    // "deflate" is zlib's format by RFC 9110, and raw deflate from some servers.
    const isZlib = input.length > 1 && ((input[0] as number) & 0x0f) === 8 && (((input[0] as number) << 8) | (input[1] as number)) % 31 === 0;
    return isZlib ? inflateSync(input, options) : inflateRawSync(input, options);
  },
  br: (input, maxOutputLength) => brotliDecompressSync(input, { maxOutputLength, finishFlush: constants.BROTLI_OPERATION_FLUSH }),
  zstd: (input, maxOutputLength) => zstdDecompressSync(input, { maxOutputLength, finishFlush: constants.ZSTD_e_flush }),
};

const MOST_ENCODINGS = 3;

/** The body behind `contentEncoding`, up to `maxBytes` of it; null when the encoding is unknown or the bytes are not what they claim to be. */
export function decodeBody(input: Buffer, contentEncoding: string, maxBytes: number): Decoded | null {
  const encodings = contentEncoding
    .split(',')
    .map((name) => name.trim().toLowerCase().replace(/^x-/, ''))
    .filter((name) => name !== '' && name !== 'identity');
  if (encodings.length > MOST_ENCODINGS) return null;
  let current: Decoded = { bytes: input, isWhole: true };
  for (const name of encodings.reverse()) {
    const decode = Object.hasOwn(decoders, name) ? decoders[name] : undefined;
    const next = decode && decodeBounded(decode, current.bytes, maxBytes);
    if (!next) return null;
    current = { bytes: next.bytes, isWhole: current.isWhole && next.isWhole };
  }
  return current;
}

/** zlib gives nothing at all when the output would be too large, so less and less of the input is tried: a bomb costs a few bounded attempts. */
function decodeBounded(decode: Decode, input: Buffer, maxBytes: number): Decoded | null {
  const maxOutputLength = maxBytes * 4 + 1024;
  for (let length = input.length; length > 0; length = Math.floor(length / 2)) {
    try {
      const bytes = decode(input.subarray(0, length), maxOutputLength);
      return { bytes: bytes.subarray(0, maxBytes), isWhole: length === input.length && bytes.length <= maxBytes };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') return null;
    }
  }
  return { bytes: Buffer.alloc(0), isWhole: input.length === 0 };
}
