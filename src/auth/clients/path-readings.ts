// How servers might read one path: decoded once or to the end, with or without path parameters, empty segments, and what looks like a query.
// A rule must hold for every reading. Pure; the path that is sent is never changed.

/** Decoded, case-folded segments of one reading; the leading `/` makes none. */
export type Reading = readonly string[];

/** A path of only these has one reading. */
const PLAIN = /^[A-Za-z0-9/_.~!$&'()*+,:@=-]*$/;

const DECODE_ROUNDS = 8;
const OPTIONS = [false, true] as const;
/** Where a server might take the path to end: nowhere, at a decoded query or fragment, at the first parameter. */
const CUTS = [null, /[?#]/, /[?#;]/] as const;

/**
 * All readings of a path (without its query), or null when it is ambiguous beyond reading: escapes that are not UTF-8 (overlong ones among them),
 * dot segments, backslashes or NUL once decoded, escapes nested more than eight deep.
 */
export function readPath(path: string): readonly Reading[] | null {
  if (PLAIN.test(path) && !path.includes('//')) {
    const segments = fold(path).split('/').slice(1);
    if (segments.some(isDots)) return null;
    return [withoutTrailingSlash(segments)];
  }
  const once = decode(path);
  if (once === null) return null;
  const fully = decodeFully(once);
  if (fully === null) return null;
  const asSent = path.split('/').slice(1);
  const decodedAsSent: string[] = [];
  for (const segment of asSent) decodedAsSent.push(decode(segment) as string);
  const bases = [decodedAsSent, once.split('/').slice(1), fully.split('/').slice(1)];
  const readings = new Map<string, Reading>();
  for (const base of bases) {
    for (const cut of CUTS) {
      for (const isStripped of OPTIONS) {
        for (const isCollapsed of OPTIONS) {
          const reading = readAs(base, cut, isStripped, isCollapsed);
          if (reading === null) return null;
          readings.set(JSON.stringify(reading), reading);
        }
      }
    }
  }
  return [...readings.values()];
}

function readAs(base: readonly string[], cut: RegExp | null, isStripped: boolean, isCollapsed: boolean): Reading | null {
  let segments = base.map(fold);
  if (segments.some((segment) => /[\\\0]/.test(segment))) return null;
  if (cut !== null) segments = cutAt(segments, cut);
  if (isStripped) segments = segments.map((segment) => segment.split(';', 1)[0] as string);
  if (segments.some((segment) => segment.split('/').some(isDots))) return null;
  return withoutTrailingSlash(isCollapsed ? segments.filter((segment) => segment !== '') : segments);
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

/** Compatibility forms and case made one, so that neither a full-width letter nor a long s is another word. */
export function fold(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text.toLowerCase() : text.normalize('NFKC').toLowerCase().toUpperCase().toLowerCase();
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
