// How servers might read one path: decoded once or to the end, with or without path parameters, empty segments, blanks
// and dots at the end of a segment, and what looks like a query.
// A rule must hold for every reading. Pure; the path that is sent is never changed.

/** Decoded, case-folded segments of one reading; the leading `/` makes none. */
export type Reading = readonly string[];

/** A path of only these has one reading, unless a segment ends with a dot. */
const PLAIN = /^[A-Za-z0-9/_.~!$&'()*+,:@=-]*$/;
const SEVERAL = /\/\/|\.(?:\/|$)/;

/**
 * Far more than any path of the platform has. What is longer is not read: the cost of reading stays below a millisecond
 * or two.
 */
const LONGEST_PATH = 8 * 1024;
const MOST_SEGMENTS = 256;

const DECODE_ROUNDS = 8;
const OPTIONS = [false, true] as const;
/** Where a server might take the path to end: nowhere, at a decoded query or fragment, at the first parameter. */
const CUTS = [null, /[?#]/, /[?#;]/] as const;

/**
 * All readings of a path (without its query), or null when it is ambiguous beyond reading: escapes that are not UTF-8
 * (overlong ones among them), dot segments, backslashes or NUL once decoded, escapes nested more than eight deep, more
 * than 8 KiB or 256 segments.
 */
export function readPath(path: string): readonly Reading[] | null {
  if (path.length > LONGEST_PATH) return null;
  if (PLAIN.test(path) && !SEVERAL.test(path)) {
    const segments = splitPath(fold(path));
    if (segments.length > MOST_SEGMENTS || segments.some(isDots)) return null;
    return [withoutTrailingSlash(segments)];
  }
  const once = decode(path);
  if (once === null) return null;
  const fully = decodeFully(once);
  if (fully === null) return null;
  const decodedAsSent: string[] = [];
  for (const segment of splitPath(path)) decodedAsSent.push(decode(segment) as string);
  const readings = new Map<string, Reading>();
  for (const base of [decodedAsSent, splitPath(once), splitPath(fully)]) {
    if (base.length > MOST_SEGMENTS) return null;
    const segments = base.map(fold);
    if (segments.some((segment) => /[\\\0]/.test(segment))) return null;
    for (const cut of CUTS) {
      const whole = cut === null ? segments : cutAt(segments, cut);
      for (const isStripped of OPTIONS) {
        const named = isStripped ? whole.map((segment) => segment.split(';', 1)[0] as string) : whole;
        const bare = named.map(withoutBlanks);
        // A blank beside the dots hides them from us alone.
        if (bare.some((segment) => segment.split('/').some((part) => isDots(part) || isDots(withoutBlanks(part)))))
          return null;
        for (const trimmed of [named, bare.map(withoutEndingDots)]) {
          for (const isCollapsed of OPTIONS) {
            const reading = withoutTrailingSlash(isCollapsed ? trimmed.filter((segment) => segment !== '') : trimmed);
            readings.set(JSON.stringify(reading), reading);
          }
        }
      }
    }
  }
  return [...readings.values()];
}

function splitPath(path: string): string[] {
  return path.split('/').slice(1);
}

/** Everything from the first match on is gone. */
function cutAt(segments: readonly string[], cut: RegExp): string[] {
  const at = segments.findIndex((segment) => cut.test(segment));
  if (at < 0) return [...segments];
  return [...segments.slice(0, at), (segments[at] as string).split(cut, 1)[0] as string];
}

/** `/users/` and `/users` are one resource to every server we know of. */
function withoutTrailingSlash(segments: readonly string[]): Reading {
  return segments.length > 1 && segments.at(-1) === '' ? segments.slice(0, -1) : segments;
}

function isDots(segment: string): boolean {
  const [name = ''] = segment.split(';', 1);
  return name === '.' || name === '..';
}

/**
 * Characters that show nothing, wherever they are (zero-width ones, soft hyphens), and blanks and controls at both
 * ends.
 */
function withoutBlanks(segment: string): string {
  if (/^[!-~]*$/.test(segment)) return segment;
  // The look-behind lets no run of blanks be scanned from each of its characters.
  return segment
    .replace(/\p{Default_Ignorable_Code_Point}+/gu, '')
    .replace(/^[\s\p{Cc}]+|(?<![\s\p{Cc}])[\s\p{Cc}]+$/gu, '');
}

/** `users.` and `users. .`: some file systems, and servers over them, know no name that ends with these. */
function withoutEndingDots(segment: string): string {
  return segment.replace(/(?<![\s\p{Cc}.])[\s\p{Cc}.]+$/u, '');
}

/** Compatibility forms and case made one, so that neither a full-width letter nor a long s is another word. */
export function fold(text: string): string {
  return /^[\x20-\x7e]*$/.test(text)
    ? text.toLowerCase()
    : text.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase();
}

/** Decodes once; a `%` that begins no escape stays. Null for octets that are not UTF-8. */
function decode(text: string): string | null {
  if (!text.includes('%')) return text;
  try {
    return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => decodeURIComponent(run));
  } catch {
    return null;
  }
}

function decodeFully(text: string): string | null {
  let decoded = text;
  for (let round = 0; round < DECODE_ROUNDS; round++) {
    const next = decode(decoded);
    if (next === null || next === decoded) return next;
    decoded = next;
  }
  return null;
}
