// The lines of an audit trail: how one is made, and how one is read again. Each names the line before it by its
// SHA-256, so that no line can be changed, dropped, added or moved without a trace. It knows no file.

import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/**
 * What a line is. `chain`: a chain begins. `opened`: a process goes on with a file. `continued`: the first line of the
 * next file, after a rotation. `call`: a changing call. `admin`: a change of the gateway itself. `fault`: for a while, lines could not be written. `closed`: the
 * process ended in order.
 */
export type AuditKind = 'chain' | 'opened' | 'continued' | 'call' | 'admin' | 'fault' | 'closed';

/** What `previous` is in the first line of a chain. */
export const NO_PREVIOUS = '0'.repeat(64);

/** A line is never longer; what goes into one is cut before. */
export const LONGEST_LINE_BYTES = 256 * 1024;

/** What each line begins with. */
export const LINE_START = '{"time":"';

/** A place in a chain: the number of a line, and the SHA-256 of its octets, without the newline. */
export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}

/** A chain that is being written. */
export class AuditChain {
  readonly #time: () => string;
  #seq: number;
  #hash: string;

  /** `time` gives the present time as it stands in a line. Without `head` the chain has no line yet. */
  constructor(time: () => string, head: ChainHead = { seq: 0, hash: NO_PREVIOUS }) {
    this.#time = time;
    this.#seq = head.seq;
    this.#hash = head.hash;
  }

  /** The last line that was made. */
  get head(): ChainHead {
    return { seq: this.#seq, hash: this.#hash };
  }

  /** The next line, with its newline. `fields` is the inside of a JSON object: `"a":1,"b":2`. */
  next(kind: AuditKind, fields: string): string {
    this.#seq += 1;
    const inside = fields === '' ? '' : `,${fields}`;
    const body =
      `${LINE_START}${this.#time()}","kind":"${kind}"${inside},` + `"seq":${this.#seq},"previous":"${this.#hash}"`;
    const line = `${body},"crc":"${crc32(body).toString(16).padStart(8, '0')}"}`;
    this.#hash = hash('sha256', line);
    return `${line}\n`;
  }
}

/** A line as it was read. */
export interface AuditLine extends ChainHead {
  readonly kind: AuditKind;
  readonly time: string;
  readonly previous: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** `,"crc":"01234567"}` */
const CHECKSUM_BYTES = 18;
const CHECKSUM = /^,"crc":"([0-9a-f]{8})"\}$/;
const HASH = /^[0-9a-f]{64}$/;
const KINDS: ReadonlySet<unknown> = new Set<AuditKind>([
  'chain',
  'opened',
  'continued',
  'call',
  'admin',
  'fault',
  'closed',
]);

/**
 * Reads a line without its newline; undefined when it is not as it was written. The checksum tells that without the
 * next line, which the last line of a file has not got. It finds damage: whoever changes a line on purpose can make a
 * new checksum, and is found by the hash in the line after.
 */
export function parseAuditLine(octets: Buffer): AuditLine | undefined {
  const bodyEnd = octets.length - CHECKSUM_BYTES;
  if (bodyEnd <= 0) return undefined;
  const checksum = CHECKSUM.exec(octets.toString('latin1', bodyEnd))?.[1];
  if (checksum === undefined || Number.parseInt(checksum, 16) !== crc32(octets.subarray(0, bodyEnd))) return undefined;
  const fields = parseObject(octets);
  if (fields === undefined) return undefined;
  const { seq, previous, kind, time } = fields;
  if (!Number.isSafeInteger(seq) || (seq as number) < 1 || typeof time !== 'string') return undefined;
  if (typeof previous !== 'string' || !HASH.test(previous) || !KINDS.has(kind)) return undefined;
  return { seq: seq as number, hash: hash('sha256', octets), kind: kind as AuditKind, time, previous, fields };
}

/** The JSON object that these octets are; undefined when they are none, for one because they are cut. */
export function parseObject(octets: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(octets.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Cut or damaged: the caller says so.
    return undefined;
  }
}

/** What a write left that was cut by the end of its process: it stands before the line that notes it. */
export interface CutPiece {
  readonly octets: number;
  readonly sha256: string;
}

/** The note of a piece, as a line that begins a process carries it. */
export function describeCut(piece: Buffer): CutPiece {
  return { octets: piece.length, sha256: hash('sha256', piece) };
}

/** Whether a line notes just this piece before it. */
export function notesCut({ kind, fields }: AuditLine, piece: Buffer): boolean {
  if (kind !== 'opened' && kind !== 'chain' && kind !== 'continued') return false;
  const noted = fields.cut as Partial<CutPiece> | undefined;
  const { octets, sha256 } = describeCut(piece);
  return noted?.octets === octets && noted.sha256 === sha256;
}

/**
 * Whether octets outside of a chain can be what crashes left: pieces of lines. A piece has lost its end, so a whole
 * object, or an empty line, was put there by somebody else.
 */
export function isCutPiece(piece: Buffer): boolean {
  for (let start = 0; start <= piece.length; ) {
    const newlineAt = piece.indexOf(0x0a, start);
    const end = newlineAt === -1 ? piece.length : newlineAt;
    if (end === start || parseObject(piece.subarray(start, end)) !== undefined) return false;
    start = end + 1;
  }
  return true;
}
