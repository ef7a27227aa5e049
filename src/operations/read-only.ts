// Decides which operations only read, for the preset `@read-only`. It goes by what the platform declares; what an
// operation does is the platform's word.

import type { Operation } from './operation.ts';

/**
 * Words that end the path of a POST that only asks. No operation of the platform that ends in one of them changes
 * anything, whatever permission it declares.
 */
const ASKING_WORDS: ReadonlySet<string> = new Set([
  'query',
  'search',
  'aggregates',
  'suggest',
  'suggestions',
  'simplesearch',
]);

/**
 * Actions that only read: view, search and read, also of something (`viewPrivate`, `searchAny`, `schemaView`).
 * `attributesview` is the platform's own spelling; `preview` is no such action.
 */
const READING_ACTION = /^(?:view|search|read)(?![a-z])|^readonly$|View$|^attributesview$/;

/**
 * Whether an operation only reads: GET, HEAD, and a POST that asks. A POST asks when its path ends in a word of asking,
 * `/me` behind it not counted, or when it declares permissions and each of them is one to read. Starting an export or a
 * query job is reading. A POST that declares nothing and ends in no such word is not; neither is one whose permissions
 * are not known.
 */
export function isReadOnly(operation: Operation): boolean {
  const { method, path, permissions } = operation;
  if (method === 'GET' || method === 'HEAD') return true;
  if (method !== 'POST') return false;
  return endsInAskingWord(path) || (permissions.length > 0 && permissions.every(isReadingPermission));
}

/** Whether a permission is one to read: by its action, the last of its three words. */
export function isReadingPermission(permission: string): boolean {
  const words = permission.split(':');
  return words.length === 3 && READING_ACTION.test(words[2] as string);
}

function endsInAskingWord(path: string): boolean {
  const words = path.split('/');
  const last = words.pop() as string;
  return ASKING_WORDS.has(last === 'me' ? (words.at(-1) ?? '') : last);
}
