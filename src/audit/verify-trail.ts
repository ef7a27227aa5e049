// Reads audit files again and says whether they are whole: every octet as it was written, no line missing, added or
// moved, from the first line to the last. What a chain alone cannot show is whether lines were cut off its end: for
// that a head which was kept elsewhere is expected to be in it.

import { type AuditLine, isCutPiece, NO_PREVIOUS, notesCut, parseAuditLine } from './audit-chain.ts';
import { readLines } from './trail-lines.ts';

/** What is wrong, and where: `line` is counted from 1. */
export interface TrailProblem {
  readonly file: string;
  readonly line: number;
  readonly what: string;
}

/** Worth knowing, and nothing wrong. */
export type TrailNote = TrailProblem;

/** One chain that was found in the files. */
export interface VerifiedChain {
  readonly files: readonly string[];
  readonly first: AuditLine;
  readonly last: AuditLine;
  readonly calls: number;
}

export interface Verification {
  readonly chains: readonly VerifiedChain[];
  /** Empty: whole. In the order of the files; of each file no more than `MOST_PROBLEMS`. */
  readonly problems: readonly TrailProblem[];
  readonly notes: readonly TrailNote[];
}

export interface VerifyOptions {
  /** Hash of a line before the first: the files that hold it were put away. */
  readonly from?: string | undefined;
  /** Hashes of lines, as the log told them: each must be found. */
  readonly expect?: readonly string[] | undefined;
}

const MOST_PROBLEMS = 10;
/** Of one file; each may tell of calls without a line. */
const MOST_NOTES = 1_000;

/** Verifies files that together are one chain, or several, whatever their order. Throws the system's error. */
export async function verifyTrail(files: readonly string[], options: VerifyOptions = {}): Promise<Verification> {
  const readings: FileReading[] = [];
  const expected = new Set(options.expect);
  for (const file of files) readings.push(await readTrail(file, expected));
  const joined = new Joining(options.from);
  for (const reading of inOrder(readings)) joined.add(reading);
  joined.finish(expected);
  return joined;
}

/** What one file holds, verified by itself. */
interface FileReading {
  readonly file: string;
  /** First and last line that are as they were written; null where there is none. */
  first: PlacedLine | null;
  last: PlacedLine | null;
  /** Whether `first` stands at the file's beginning, with nothing before it but what it notes itself. */
  isFirstOnTop: boolean;
  calls: number;
  /** What stands behind `last`: a problem, unless the first line of the next file notes it. */
  tail: { readonly piece: Buffer; readonly problems: readonly TrailProblem[] } | null;
  readonly problems: TrailProblem[];
  readonly notes: TrailNote[];
}

interface PlacedLine {
  readonly line: AuditLine;
  readonly number: number;
}

/** Each file behind the one whose last line it names; what names none is put by its time. */
function inOrder(readings: readonly FileReading[]): FileReading[] {
  const byPrevious = new Map(readings.map((reading) => [reading.first?.line.previous, reading]));
  const lastHashes = new Set(readings.map(({ last }) => last?.line.hash));
  const starts = readings.filter(({ first }) => first === null || !lastHashes.has(first.line.previous));
  const ordered = new Set<FileReading>();
  for (const start of starts.sort(byTime)) {
    let next: FileReading | undefined = start;
    while (next !== undefined && !ordered.has(next)) {
      ordered.add(next);
      next = next.last === null ? undefined : byPrevious.get(next.last.line.hash);
    }
  }
  // Two files of one content stand in one place of the map.
  for (const reading of readings) ordered.add(reading);
  return [...ordered];
}

function byTime({ first: one }: FileReading, { first: other }: FileReading): number {
  if (one === null || other === null) return one === other ? 0 : one === null ? 1 : -1;
  if (one.line.time !== other.line.time) return one.line.time < other.line.time ? -1 : 1;
  return one.line.seq - other.line.seq;
}

async function readTrail(file: string, expected: Set<string>): Promise<FileReading> {
  const reading = new TrailReader(file, expected);
  const fault = await readLines(file, reading.take);
  return reading.end(fault);
}

/** Follows the chain through one file. */
class TrailReader {
  readonly #reading: FileReading;
  readonly #expected: Set<string>;
  #number = 0;
  /** How many lines are not as they were written, since the last that is; the first of them are kept. */
  #damagedCount = 0;
  readonly #damaged: Buffer[] = [];
  /** Whether the last of them has no newline. */
  #isCut = false;

  constructor(file: string, expected: Set<string>) {
    this.#reading = {
      file,
      first: null,
      last: null,
      isFirstOnTop: true,
      calls: 0,
      tail: null,
      problems: [],
      notes: [],
    };
    this.#expected = expected;
  }

  /** Takes the next line; bound, to be handed on. */
  readonly take = (octets: Buffer, isEnded: boolean): void => {
    this.#number += 1;
    const line = parseAuditLine(octets);
    if (line === undefined) {
      this.#noteDamaged(octets);
      this.#isCut = !isEnded;
      return;
    }
    if (!isEnded) this.#setTail(NOTHING, 'cut: its newline is missing, or it is being written just now');
    const { last, first } = this.#reading;
    const wasDamaged = this.#damagedCount > 0 && !this.#isNotedCut(line);
    if (last !== null) this.#follow(line, last, wasDamaged);
    else if (wasDamaged) this.#damagedProblem(null);
    if (first === null) {
      this.#reading.isFirstOnTop = !wasDamaged;
      this.#reading.first = { line, number: this.#number };
    }
    this.#forgetDamaged();
    this.#reading.last = { line, number: this.#number };
    if (line.kind === 'call') this.#reading.calls += 1;
    this.#expected.delete(line.hash);
    this.#tell(line);
  };

  /** `fault`: why the file could not be read any further. */
  end(fault: string | null): FileReading {
    if (fault !== null) this.#problem(this.#number + 1, `damaged: it cannot be decompressed from here on (${fault})`);
    else if (this.#number === 0) this.#problem(0, 'empty');
    if (this.#damagedCount === 0) return this.#reading;
    const piece = this.#damagedPiece();
    if (this.#damagedCount === 1 && this.#isCut && isCutPiece(piece))
      this.#setTail(
        piece,
        'cut: the gateway was killed in the middle of it, or writes it just now, or somebody cut it',
      );
    else this.#setTail(piece, UNKNOWN);
    return this.#reading;
  }

  #setTail(piece: Buffer, what: string): void {
    const { file } = this.#reading;
    const lineCount = Math.max(1, this.#damagedCount);
    const count = Math.min(lineCount, MOST_PROBLEMS);
    const from = this.#number - lineCount + 1;
    const problems = Array.from({ length: count }, (_, at) => ({ file, line: from + at, what }));
    this.#reading.tail = { piece, problems };
  }

  /** A line that is whole in itself: does it follow the last one? */
  #follow(line: AuditLine, { line: last, number }: PlacedLine, wasDamaged: boolean): void {
    const missing = line.seq - last.seq - 1;
    if (wasDamaged) {
      const isNext = missing === 0 && line.previous === last.hash;
      const areChanged = missing === this.#damagedCount;
      this.#damagedProblem(isNext ? 'added' : areChanged ? 'changed' : null);
      if (isNext || areChanged) return;
    }
    if (missing === 0 && line.previous === last.hash) return;
    if (line.hash === last.hash) this.#problem(this.#number, `doubled: it repeats line ${number}`);
    else if (missing > 0) this.#problem(this.#number, `${lines(missing, last.seq + 1)} missing before it`);
    else if (missing < 0)
      this.#problem(this.#number, `out of place: number ${line.seq} of the chain after number ${last.seq}`);
    else this.#problem(number, 'changed or added: the line after it was written after another one');
  }

  /** Pieces of lines that a crash left are noted by the process that came next. */
  #isNotedCut(line: AuditLine): boolean {
    const piece = this.#damagedPiece();
    if (!isCutPiece(piece) || !notesCut(line, piece)) return false;
    this.#note(this.#number - this.#damagedCount, cutNote(piece));
    return true;
  }

  #noteDamaged(octets: Buffer): void {
    this.#damagedCount += 1;
    if (this.#damagedCount <= MOST_PROBLEMS) this.#damaged.push(Buffer.from(octets));
  }

  /** The damaged lines as they stand in the file; with more of them than are kept, what is no crash's. */
  #damagedPiece(): Buffer {
    return this.#damagedCount > this.#damaged.length ? NO_CUT : joinLines(this.#damaged);
  }

  #forgetDamaged(): void {
    this.#damagedCount = 0;
    this.#damaged.length = 0;
  }

  #damagedProblem(known: 'added' | 'changed' | null): void {
    const what =
      known === 'added'
        ? 'added: the chain goes on without it'
        : known === 'changed'
          ? 'changed: it is not as it was written'
          : UNKNOWN;
    const first = this.#number - this.#damagedCount;
    for (let at = 0; at < Math.min(this.#damagedCount, MOST_PROBLEMS); at++) this.#problem(first + at, what);
  }

  #tell({ kind, fields, time }: AuditLine): void {
    if (kind !== 'fault') return;
    const lost = fields.lost === 0 ? 'no call is missing' : `${fields.lost} calls are missing`;
    const what = `lines could not be written (${fields.code}) from ${fields.from} to ${fields.to ?? time}; ${lost}`;
    this.#note(this.#number, what);
  }

  #note(line: number, what: string): void {
    const { file, notes } = this.#reading;
    if (notes.length < MOST_NOTES) notes.push({ file, line, what });
    else if (notes.length === MOST_NOTES) notes.push({ file, line, what: 'more notes from here on are left out' });
  }

  #problem(line: number, what: string): void {
    const { file, problems } = this.#reading;
    if (problems.length < MOST_PROBLEMS) problems.push({ file, line, what });
  }
}

const NOTHING = Buffer.alloc(0);
/** What no crash leaves. */
const NO_CUT = Buffer.from('\n');
const UNKNOWN = 'changed, cut or added: it is not a line as it was written';

function lines(count: number, from: number): string {
  return count === 1 ? `line ${from} of the chain is` : `lines ${from} to ${from + count - 1} of the chain are`;
}

function cutNote(piece: Buffer): string {
  return `${piece.length} octets of a line that was cut by a crash, as the next line notes`;
}

function joinLines(parts: readonly Buffer[]): Buffer {
  return Buffer.concat(parts.flatMap((part, at) => (at === 0 ? [part] : [Buffer.from('\n'), part])));
}

/** Puts files that were read together to chains. */
class Joining implements Verification {
  readonly chains: VerifiedChain[] = [];
  readonly problems: TrailProblem[] = [];
  readonly notes: TrailNote[] = [];
  readonly #from: string | undefined;
  /** Whether a file goes on from there. */
  #isFromFound = false;
  #files: string[] = [];
  #calls = 0;
  #first: AuditLine | null = null;
  #end: { file: string; number: number; line: AuditLine } | null = null;
  #tail: FileReading['tail'] = null;
  /** The file that each chain begins in, by the hash of its first line. */
  readonly #begun = new Map<string, string>();

  constructor(from: string | undefined) {
    this.#from = from;
  }

  add(reading: FileReading): void {
    const { file, first, last } = reading;
    this.#endTail(first?.line ?? null);
    this.#tail = reading.tail;
    if (first !== null && reading.isFirstOnTop) this.#join(file, first.line);
    this.problems.push(...reading.problems);
    this.notes.push(...reading.notes);
    if (first === null || last === null) return;
    this.#first ??= first.line;
    this.#files.push(file);
    this.#calls += reading.calls;
    this.#end = { file, ...last };
  }

  finish(expected: ReadonlySet<string>): void {
    this.#endTail(null);
    this.#endChain();
    const { file = '-', number = 0 } = this.#end ?? {};
    if (this.#from !== undefined && !this.#isFromFound)
      this.problems.push({
        file,
        line: 0,
        what: `no file goes on from the line with the hash ${this.#from}: one is missing, or the chain was begun anew`,
      });
    for (const hash of expected)
      this.problems.push({
        file,
        line: number,
        what: `the head ${hash} is in none of these lines: lines were cut off`,
      });
  }

  /** Does a file's first line follow the last line of the file before? */
  #join(file: string, line: AuditLine): void {
    const problem = (what: string) => this.problems.push({ file, line: 1, what });
    if (line.previous === this.#from) this.#isFromFound = true;
    if (line.previous === NO_PREVIOUS && line.seq === 1) {
      this.#endChain();
      const twin = this.#begun.get(line.hash);
      if (twin !== undefined) problem(`doubled: it begins as ${twin} does`);
      this.#begun.set(line.hash, file);
      return;
    }
    if (this.#first === null || this.#end === null) {
      if (line.previous === this.#from) return;
      problem(
        `goes on from line ${line.seq - 1} of a chain, which is in none of these files: add the file before. ` +
          `If that was put away, and its last line has the hash ${line.previous}: --from ${line.previous}`,
      );
      return;
    }
    const { line: last, file: lastFile } = this.#end;
    if (line.previous === last.hash && line.seq === last.seq + 1) return;
    if (line.seq > last.seq + 1) problem(`${lines(line.seq - last.seq - 1, last.seq + 1)} missing before it`);
    else if (line.seq <= last.seq) problem(`out of place: number ${line.seq} of the chain after ${lastFile}`);
    else
      this.problems.push({
        file: lastFile,
        line: this.#end.number,
        what: `changed or added: ${file} was written after another line`,
      });
  }

  /** What a crash left at the end of a file may be noted by the first line of the next. */
  #endTail(next: AuditLine | null): void {
    if (this.#tail === null) return;
    const { piece, problems } = this.#tail;
    const isContinued = next?.kind === 'continued' && next.previous === this.#end?.line.hash;
    const isNoted = piece.length === 0 || (isCutPiece(piece) && next !== null && notesCut(next, piece));
    const [first] = problems;
    if (!isContinued || !isNoted) this.problems.push(...problems);
    else if (first !== undefined) this.notes.push({ ...first, what: cutNote(piece) });
    this.#tail = null;
  }

  #endChain(): void {
    if (this.#first === null || this.#end === null) return;
    const { line: last, file, number } = this.#end;
    this.chains.push({ files: this.#files, first: this.#first, last, calls: this.#calls });
    if (last.kind !== 'closed')
      this.notes.push({ file, line: number, what: 'the chain is not closed: the gateway runs, or was killed' });
    this.#files = [];
    this.#calls = 0;
    this.#first = null;
  }
}

/** A head as `--from` and `--expect` take it: the hash alone, in hex. */
export function isHeadHash(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
