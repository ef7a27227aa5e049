// JSON configuration that remembers file:line for every key. A small reader of its own, because JSON.parse keeps no
// positions, lets a duplicate key win in silence and gives `__proto__` a meaning.

import { onOneLine, type Problem, quote } from './problem.ts';
import type { RawEntry, RawSection, RawSource, RawValue } from './values.ts';

/** Objects inside objects: section, name, and one to notice a mistake. */
const DEEPEST = 8;

class JsonFault extends Error {
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/**
 * Reads JSON text: an object of sections, in which objects nest as names (`{"client": {"crm": {…}}}`). Never throws.
 */
export function parseJson(text: string, file: string): RawSource {
  const entries: RawEntry[] = [];
  const sections: RawSection[] = [];
  const problems: Problem[] = [];
  const source = text.replace(/^\uFEFF/, '');
  const lineOf = createLineFinder(source);
  let at = 0;
  let isIncomplete = false;

  const fail = (message: string, offset = at): never => {
    throw new JsonFault(message, offset);
  };
  const skipBlanks = (): void => {
    while (at < source.length && ' \t\r\n'.includes(source.charAt(at))) at += 1;
  };
  const expect = (mark: string): void => {
    skipBlanks();
    if (source[at] !== mark)
      fail(at >= source.length ? `the file ends where "${mark}" should be` : `"${mark}" is missing before this`);
    at += 1;
  };
  const readString = (): string => {
    const start = at;
    for (at += 1; at < source.length && source[at] !== '"' && source.charAt(at) >= ' '; at++)
      if (source[at] === '\\') at += 1;
    try {
      at += 1;
      return String(JSON.parse(source.slice(start, at)));
    } catch {
      return fail('this string is not closed, or has a control character or a wrong escape in it', start);
    }
  };
  const readScalar = (): RawValue | null => {
    if (source[at] === '"') return { type: 'text', text: readString() };
    const word = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/.exec(
      source.slice(at, at + 400),
    )?.[0];
    if (word === undefined) return fail('this is not a JSON value; text needs double quotes');
    at += word.length;
    if (word === 'null') return null;
    return { type: word === 'true' || word === 'false' ? 'boolean' : 'number', text: word };
  };
  const readList = (location: string, key: string): RawValue | null => {
    const items: string[] = [];
    let isGood = true;
    expect('[');
    skipBlanks();
    while (source[at] !== ']') {
      if ('[{'.includes(source.charAt(at)) && at < source.length) fail('a list holds texts only');
      const item = readScalar();
      if (item === null) isGood = false;
      else if ('text' in item) items.push(item.text);
      skipBlanks();
      if (source[at] !== ',') break;
      at += 1;
      skipBlanks();
      if (source[at] === ']') fail('there is a comma too many before this');
    }
    expect(']');
    if (!isGood) problems.push({ location, key, message: 'null is no value; leave it out' });
    return isGood ? { type: 'list', items } : null;
  };
  const readObject = (path: readonly string[], startLocation: string): void => {
    if (path.length > DEEPEST) fail('the objects are nested too deeply');
    const seen = new Map<string, string>();
    expect('{');
    skipBlanks();
    let holdsSettings = source[at] === '}';
    while (source[at] !== '}') {
      if (source[at] !== '"')
        fail(at >= source.length ? 'the file ends inside an object' : 'a key in double quotes is missing before this');
      const location = `${file}:${lineOf(at).line}`;
      const key = readString();
      const label = [...path, key].join('.');
      const before = seen.get(key);
      if (before !== undefined)
        problems.push({ location, key: onOneLine(label), message: `already set at ${before}; remove one of the two` });
      seen.set(key, location);
      expect(':');
      skipBlanks();
      holdsSettings ||= source[at] !== '{';
      readMember(path, key, label, location, before === undefined);
      skipBlanks();
      if (source[at] !== ',') break;
      at += 1;
      skipBlanks();
      if (source[at] === '}') fail('there is a comma too many before this');
    }
    // `client` in {"client": {"crm": {…}}} is only the way to a section.
    if (path.length > 0 && holdsSettings) sections.push({ section: path.join('.'), location: startLocation });
    expect('}');
  };
  const readMember = (
    path: readonly string[],
    key: string,
    label: string,
    location: string,
    isFirst: boolean,
  ): void => {
    if (source[at] === '{') {
      readObject([...path, key], location);
      return;
    }
    const isList = source[at] === '[';
    const value = isList ? readList(location, label) : readScalar();
    if (value === null && !isList)
      problems.push({ location, key: onOneLine(label), message: 'null is no value; leave the key out' });
    if (value === null) {
      if (path.length > 0 && isFirst)
        entries.push({ section: path.join('.'), key, value: { type: 'broken' }, location });
    } else if (path.length === 0 && key === '$schema') {
      // For editors; it sets nothing.
    } else if (path.length === 0) {
      problems.push({
        location,
        key: '',
        message: `${quote(key)} stands outside of any section; write {"general": {…}}`,
      });
    } else if (isFirst) {
      entries.push({ section: path.join('.'), key, value, location });
    }
  };

  try {
    skipBlanks();
    if (source[at] !== '{') fail('the configuration must be an object of sections: {"general": {…}}');
    readObject([], `${file}:1`);
    skipBlanks();
    if (at < source.length) fail('there is text after the closing "}"');
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const { line, column } = lineOf(error.offset);
    isIncomplete = true;
    problems.push({ location: `${file}:${line}:${column}`, key: '', message: `not valid JSON: ${error.message}` });
  }
  return { entries, sections, problems, isIncomplete };
}

function createLineFinder(source: string): (offset: number) => { line: number; column: number } {
  let line = 1;
  let lineStart = 0;
  let seen = 0;
  return (offset) => {
    if (offset < seen) {
      line = 1;
      lineStart = 0;
      seen = 0;
    }
    for (; seen < offset; seen++) {
      if (source[seen] === '\n') {
        line += 1;
        lineStart = seen + 1;
      }
    }
    return { line, column: offset - lineStart + 1 };
  };
}
