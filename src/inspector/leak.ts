// The last look at a text before it leaves the gateway in a file: whether a secret is in it. It masks nothing; what it
// finds is a fault of whatever should have.

import type { LiveSecrets } from '../logging/redact/live-secrets.ts';

/** What was found, in words, and where it begins. Never the value. */
export interface Leak {
  readonly what: string;
  readonly at: number;
}

/** Shapes of secrets. A scheme is followed by words in prose, so that what follows it here is longer than words are. */
const SHAPES: readonly (readonly [what: string, shape: RegExp])[] = [
  ['a JSON Web Token', /eyJ[\w-]{8,512}\.[\w-]/],
  ['a handle of this gateway', /\bgcg[a-z]_[\w-]{16,}/i],
  ['a token behind Bearer', /\bbearer(?:\s|%20|\+){1,8}[\w.~+/=-]{20,}/i],
  ['a password behind Basic', /\bbasic(?:\s|%20|\+){1,8}[\w+/=-]{16,}/i],
];

/**
 * The first secret of a text: one that is in use, as it is or with the escapes of JSON or percent, in base64, base64url
 * or hex, or something in the shape of one. Null where there is none.
 */
export function findLeak(text: string, live: Pick<LiveSecrets, 'find'>): Leak | null {
  const at = live.find(text);
  if (at !== -1) return { what: 'a secret in use', at };
  for (const [what, shape] of SHAPES) {
    const found = shape.exec(text);
    if (found !== null) return { what, at: found.index };
  }
  return null;
}

/** Where in a structure called `name` a leak was found in its text: `log.entries[1].request.headers[2].value`. */
export function placeOfLeak(name: string, value: unknown, live: Pick<LiveSecrets, 'find'>): string {
  const place = (part: unknown, path: string): string | null => {
    if (typeof part === 'string') return findLeak(part, live) === null ? null : path;
    if (typeof part !== 'object' || part === null) return null;
    for (const [name, item] of Object.entries(part)) {
      if (findLeak(name, live) !== null) return `a name in ${path}`;
      const inner = place(item, Array.isArray(part) ? `${path}[${name}]` : `${path}.${name}`);
      if (inner !== null) return inner;
    }
    return null;
  };
  return place(value, name) ?? `more than one text of ${name} together`;
}
