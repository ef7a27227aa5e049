// Selectors of operations, as rules name them: an operationId, `tag:…` or `permission:…`. Pure. It knows operations,
// not paths, and tells what is unknown; saying so to people is the configuration's.

import type { Operation } from './operation.ts';
import { isReadOnly } from './read-only.ts';

/**
 * What a rule selects operations by. `*` stands for any run of characters, none included. Case counts: five pairs of
 * operationIds differ in nothing else.
 */
export interface Selector {
  /** As it was written. */
  readonly text: string;
  readonly by: 'id' | 'tag' | 'permission';
  /** Without the prefix. */
  readonly pattern: string;
}

const ID = /^[A-Za-z0-9*]+$/;
const TAG = /^tag:([A-Za-z0-9*]+)$/;
const PERMISSION = /^permission:([A-Za-z0-9_*-]+(?::[A-Za-z0-9_*-]+){2})$/;

/**
 * Reads a selector. Null for text that has not the form of one, as `GET /users` or `@read-only`. Whether it names
 * anything is not asked.
 */
export function parseSelector(text: string): Selector | null {
  if (ID.test(text)) return { text, by: 'id', pattern: text };
  const [, tag] = TAG.exec(text) ?? [];
  if (tag !== undefined) return { text, by: 'tag', pattern: tag };
  const [, permission] = PERMISSION.exec(text) ?? [];
  return permission === undefined ? null : { text, by: 'permission', pattern: permission };
}

/**
 * Whether a selector names the operation: its id, one of its tags, or one of the permissions it declares, whether it
 * needs all of them or any. This is what a deny refuses. An operation that declares no permission, or whose permissions
 * are not known, is named by no selector of a permission.
 */
export function matches({ by, pattern }: Selector, operation: Operation): boolean {
  if (by === 'id') return isGlobMatch(pattern, operation.id);
  if (by === 'tag') return operation.tags.some((tag) => isGlobMatch(pattern, tag));
  return operation.permissions.some((permission) => isPermissionMatch(pattern, permission));
}

/**
 * Whether the selectors of one allow list let an operation pass. One that names its id or tag is enough. Permissions of
 * the list count together, as if they were granted: an operation that needs all of several passes when each of them is
 * covered. One that needs any of several passes with one of them only where it just reads: the platform's lists for
 * changing operations hold permissions that alone do not do (deleting an annotation of a recording: `delete` or
 * `recording:view`), so there each of them must be covered as well.
 */
export function allows(selectors: readonly Selector[], operation: Operation): boolean {
  if (selectors.some((selector) => selector.by !== 'permission' && matches(selector, operation))) return true;
  const { permissions, requires } = operation;
  if (permissions.length === 0) return false;
  const isCovered = (permission: string) =>
    selectors.some(({ by, pattern }) => by === 'permission' && isPermissionMatch(pattern, permission));
  return requires === 'any' && isReadOnly(operation) ? permissions.some(isCovered) : permissions.every(isCovered);
}

/**
 * What to suggest from when a selector names no operation at all: every selector of its kind that names one. Null when
 * it names some operation.
 */
export function alternativesTo(selector: Selector, operations: readonly Operation[]): ReadonlySet<string> | null {
  if (operations.some((operation) => matches(selector, operation))) return null;
  if (selector.by === 'id') return new Set(operations.map(({ id }) => id));
  const words = operations.flatMap(({ tags, permissions }) => (selector.by === 'tag' ? tags : permissions));
  return new Set(words.map((word) => `${selector.by}:${word}`));
}

/** Word by word, so that `*` never reaches over a colon. */
export function isPermissionMatch(pattern: string, permission: string): boolean {
  const wanted = pattern.split(':');
  const words = permission.split(':');
  return wanted.length === words.length && wanted.every((part, index) => isGlobMatch(part, words[index] as string));
}

/** Takes each part between two stars at its first place: no backtracking, whatever the pattern. */
function isGlobMatch(pattern: string, text: string): boolean {
  if (!pattern.includes('*')) return pattern === text;
  const parts = pattern.split('*');
  const first = parts.shift() as string;
  const last = parts.pop() as string;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
  let at = first.length;
  const end = text.length - last.length;
  for (const part of parts) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
