// Stacks that name the sources: the program is bundled, and its maps are read when a stack is to be shown, not before.

import { readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isSource, programFile } from './program-folder.ts';

/** A place in a file: its URL, line and column. */
const PLACE = /(file:\/\/\S+?):(\d+):(\d+)/g;

/** A stack, or one line of it, in which each place in the bundle is the one in the sources: `src/gateway.ts:12:3`. */
export function sourceStack(stack: string): string {
  if (isSource) return stack;
  const folder = programFile('.').href;
  const maps = new Map<string, SourceMap | null>();
  // Node calls CommonJS by its path.
  const path = fileURLToPath(folder);
  const named = [' ', '('].reduce((text, before) => text.replaceAll(before + path, before + folder), stack);
  return named.replace(PLACE, (place, url: string, line: string, column: string) => {
    if (!url.startsWith(folder)) return place;
    if (!maps.has(url)) maps.set(url, mapOf(url));
    const entry = maps.get(url)?.findEntry(Number(line) - 1, Number(column) - 1);
    if (entry === undefined || !('originalSource' in entry)) return place;
    const source = entry.originalSource.replace(/^(?:\.\.\/)+/, '');
    return `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}

function mapOf(url: string): SourceMap | null {
  try {
    return new SourceMap(JSON.parse(readFileSync(fileURLToPath(`${url}.map`), 'utf8')) as SourceMapPayload);
  } catch {
    // The stack is shown as it is.
    return null;
  }
}
