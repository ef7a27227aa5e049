// What a secret may look like in a text: as it is, in parts, in base64, in hex; and a text with its escapes undone, in which
// the plain forms are looked for. Remembers nothing.

/** Shorter values are not looked for: masking them would eat ordinary words. */
export const SHORTEST = 8;
/** A longer value is known by its parts of this length, so that a piece of it is recognised too. */
const PART_LENGTH = 64;
const MOST_PARTS = 1024;

/** All that a value may look like; escapes are undone in the text, and so they are here. */
export function* formsOf(value: string): Generator<[text: string, isEdged: boolean]> {
  for (const part of new Set(partsOf(value))) {
    const plain = new Set<string>();
    // A header's octets are read one a character, and so are percent-encoded ones.
    for (const text of [part, part.replaceAll(' ', '+')])
      plain.add(text).add(Buffer.from(text, 'utf8').toString('latin1'));
    for (const text of [...plain]) {
      const undone = withoutEscapes(text)?.text ?? text;
      plain.add(undone);
      // Made of escapes itself: nothing to be found by is left of it.
      if (undone.length < SHORTEST)
        plain.add(encodeURIComponent(Buffer.from(text).toString())).add(JSON.stringify(text).slice(1, -1));
    }
    for (const text of plain) if (text.length >= SHORTEST) yield [text, false];
    // Escaped twice, a `u` with four digits behind it comes out as one more escape, and is undone as well.
    const twice = withoutEscapes(part.replace(/u(?=[0-9a-f]{4})/g, '\\u'))?.text;
    if (twice !== undefined && twice.length >= SHORTEST && !plain.has(twice)) yield [twice, false];
    const encoded = new Set<string>();
    for (const offset of [0, 1, 2]) {
      const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(part, 'utf8')]);
      // Whole sextets of the value's own octets.
      const [from, to] = [Math.ceil((offset * 8) / 6), Math.floor((bytes.length * 8) / 6)];
      for (const encoding of ['base64', 'base64url'] as const) encoded.add(bytes.toString(encoding).slice(from, to));
    }
    for (const text of encoded) yield [text, true];
    const hex = Buffer.from(part, 'utf8').toString('hex');
    yield [hex, false];
    if (hex.toUpperCase() !== hex) yield [hex.toUpperCase(), false];
  }
}

/**
 * The value, or its parts; the last one reaches back so that it is as long as the others. No part begins or ends within
 * a character.
 */
function* partsOf(value: string): Generator<string> {
  if (value.length <= PART_LENGTH) return yield value;
  const isWithin = (at: number) => /^[\udc00-\udfff]/.test(value.slice(at, at + 1));
  for (let from = 0, count = 0; from < value.length && count < MOST_PARTS; count++) {
    let start = Math.min(from, value.length - PART_LENGTH);
    if (isWithin(start)) start--;
    const end = isWithin(from + PART_LENGTH) ? from + PART_LENGTH + 1 : from + PART_LENGTH;
    yield value.slice(start, end);
    from = end;
  }
}

const BACKSLASH = 0x5c;
const PERCENT = 0x25;
/** Paths are short and many: for them nothing is allocated. */
const SCRATCH_LENGTH = 512;
const scratchCodes = new Uint16Array(SCRATCH_LENGTH);
const scratchStarts = new Uint32Array(SCRATCH_LENGTH + 1);

/** Control characters that JSON writes as a letter, and these letters. */
const CONTROLS = new Map([...'bfnrt'].map((letter, at) => ['\b\f\n\r\t'.charCodeAt(at), letter.charCodeAt(0)]));

/**
 * What is the same of a text in every encoding: `%41` and `\u0041` undone, and those that this makes, to the last; then
 * no backslashes, and for a line break its letter. Null when nothing changes. `starts` says where in the text each
 * character came from, and where the text ends. Linear: each step but the reading of a character makes what was read
 * shorter. What it returns is good until it is called again.
 */
export function withoutEscapes(text: string): { readonly text: string; readonly starts: Uint32Array } | null {
  const isShort = text.length < SCRATCH_LENGTH;
  const codes = isShort ? scratchCodes : new Uint16Array(text.length);
  const starts = isShort ? scratchStarts : new Uint32Array(text.length + 1);
  let length = 0;
  let isEscaped = false;
  for (let at = 0; at < text.length; at++) {
    codes[length] = text.charCodeAt(at);
    starts[length] = at;
    length++;
    // Nothing is undone before there is something to undo.
    if (codes[length - 1] === BACKSLASH || codes[length - 1] === PERCENT) isEscaped = true;
    if (!isEscaped) continue;
    for (let left = undoLast(codes, length); left !== length; left = undoLast(codes, length)) length = left;
  }
  let isChanged = length !== text.length;
  let kept = 0;
  let start = -1;
  for (let at = 0; at < length; at++) {
    const code = codes[at] as number;
    if (start === -1) start = starts[at] as number;
    if (code === BACKSLASH) {
      isChanged = true;
      continue;
    }
    const letter = CONTROLS.get(code);
    isChanged ||= letter !== undefined;
    codes[kept] = letter ?? code;
    starts[kept] = start;
    start = -1;
    kept++;
  }
  if (!isChanged) return null;
  starts[kept] = text.length;
  return {
    text: isShort
      ? String.fromCharCode(...codes.subarray(0, kept))
      : Buffer.from(codes.buffer, 0, kept * 2).toString('utf16le'),
    starts,
  };
}

const LETTER_U = 0x75;

/** Undoes the escape that ends with the last of `length` characters; the new length. */
function undoLast(codes: Uint16Array, length: number): number {
  const last = codes[length - 1] as number;
  // A `u` may go on with an escape, and a `%` begin one.
  if (length >= 2 && codes[length - 2] === BACKSLASH && last !== BACKSLASH && last !== LETTER_U && last !== PERCENT) {
    codes[length - 2] = last;
    return length - 1;
  }
  if (length >= 3 && codes[length - 3] === PERCENT) {
    const octet = hexAt(codes, length - 2, 2);
    if (octet !== -1) {
      codes[length - 3] = octet;
      return length - 2;
    }
  }
  if (length >= 6 && codes[length - 6] === BACKSLASH && codes[length - 5] === LETTER_U) {
    const unit = hexAt(codes, length - 4, 4);
    if (unit !== -1) {
      codes[length - 6] = unit;
      return length - 5;
    }
  }
  return length;
}

/** The number that `digits` hexadecimal digits make, or -1. */
function hexAt(codes: Uint16Array, from: number, digits: number): number {
  let number = 0;
  for (let at = from; at < from + digits; at++) {
    const code = codes[at] as number;
    const digit =
      code >= 0x30 && code <= 0x39
        ? code - 0x30
        : (code | 0x20) >= 0x61 && (code | 0x20) <= 0x66
          ? (code | 0x20) - 0x57
          : -1;
    if (digit === -1) return -1;
    number = number * 16 + digit;
  }
  return number;
}
