// JSON configuration that remembers file:line for every key. A small reader of its own, because JSON.parse keeps no
// positions, lets a duplicate key win in silence and gives `__proto__` a meaning.

import { onOneLine, type Problem, quote } from './problem.ts';
import type { RawEntry, RawSection, RawSource, RawValue } from './values.ts';

/** How deep objects may nest. Section and name need two levels; deeper ones are reported as unknown sections. */
const DEEPEST = 8;

/** A syntax error and its offset. */
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
  return new JsonReader(text.replace(/^\uFEFF/, ''), file).read();
}

/** Reads one text from its beginning to its end. */
class JsonReader {
  readonly #source: string;
  readonly #file: string;
  readonly #lines: LineFinder;
  /** Where the next character is read. */
  #at = 0;
  readonly #entries: RawEntry[] = [];
  readonly #sections: RawSection[] = [];
  readonly #problems: Problem[] = [];

  constructor(source: string, file: string) {
    this.#source = source;
    this.#file = file;
    this.#lines = new LineFinder(source);
  }

  read(): RawSource {
    let isIncomplete = false;
    try {
      this.#skipBlanks();
      if (this.#next() !== '{') this.#fail('the configuration must be an object of sections: {"general": {…}}');
      this.#readObject([], `${this.#file}:1`);
      this.#skipBlanks();
      if (!this.#isAtEnd) this.#fail('there is text after the closing "}"');
    } catch (error) {
      if (!(error instanceof JsonFault)) throw error;
      const { line, column } = this.#lines.find(error.offset);
      isIncomplete = true;
      const location = `${this.#file}:${line}:${column}`;
      this.#problems.push({ location, key: '', message: `not valid JSON: ${error.message}` });
    }
    return { entries: this.#entries, sections: this.#sections, problems: this.#problems, isIncomplete };
  }

  /** The character that is read next; '' at the end. */
  #next(): string {
    return this.#source.charAt(this.#at);
  }

  get #isAtEnd(): boolean {
    return this.#at >= this.#source.length;
  }

  #fail(message: string, offset = this.#at): never {
    throw new JsonFault(message, offset);
  }

  #skipBlanks(): void {
    while (!this.#isAtEnd && ' \t\r\n'.includes(this.#next())) this.#at += 1;
  }

  #expect(mark: string): void {
    this.#skipBlanks();
    if (this.#next() !== mark)
      this.#fail(this.#isAtEnd ? `the file ends where "${mark}" should be` : `"${mark}" is missing before this`);
    this.#at += 1;
  }

  /** Whether another member or item follows; a comma before the closing mark is refused. */
  #isContinued(close: string): boolean {
    this.#skipBlanks();
    if (this.#next() !== ',') return false;
    this.#at += 1;
    this.#skipBlanks();
    if (this.#next() === close) this.#fail('there is a comma too many before this');
    return true;
  }

  #readString(): string {
    const start = this.#at;
    for (this.#at += 1; this.#next() !== '"' && this.#next() >= ' '; this.#at++)
      if (this.#next() === '\\') this.#at += 1;
    try {
      this.#at += 1;
      return String(JSON.parse(this.#source.slice(start, this.#at)));
    } catch {
      return this.#fail('this string is not closed, or has a control character or a wrong escape in it', start);
    }
  }

  #readScalar(): RawValue | null {
    if (this.#next() === '"') return { type: 'text', text: this.#readString() };
    const word = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/.exec(
      this.#source.slice(this.#at, this.#at + 400),
    )?.[0];
    if (word === undefined) return this.#fail('this is not a JSON value; text needs double quotes');
    this.#at += word.length;
    if (word === 'null') return null;
    return { type: word === 'true' || word === 'false' ? 'boolean' : 'number', text: word };
  }

  #readList(location: string, key: string): RawValue | null {
    const items: string[] = [];
    let isGood = true;
    this.#expect('[');
    this.#skipBlanks();
    if (this.#next() !== ']') {
      do {
        if (this.#next() === '[' || this.#next() === '{') this.#fail('a list holds texts only');
        const item = this.#readScalar();
        if (item === null) isGood = false;
        else if ('text' in item) items.push(item.text);
      } while (this.#isContinued(']'));
    }
    this.#expect(']');
    if (!isGood) this.#problems.push({ location, key, message: 'null is no value; leave it out' });
    return isGood ? { type: 'list', items } : null;
  }

  #readObject(path: readonly string[], start: string): void {
    if (path.length > DEEPEST) this.#fail('the objects are nested too deeply');
    const seen = new Map<string, string>();
    this.#expect('{');
    this.#skipBlanks();
    let holdsSettings = this.#next() === '}';
    if (!holdsSettings) {
      do {
        const isSetting = this.#readMember(path, seen);
        holdsSettings ||= isSetting;
      } while (this.#isContinued('}'));
    }
    // `client` in {"client": {"crm": {…}}} is only the way to a section.
    if (path.length > 0 && holdsSettings) this.#sections.push({ section: path.join('.'), location: start });
    this.#expect('}');
  }

  /** Reads `"key": value`; false when the value is an object, and so no setting. */
  #readMember(path: readonly string[], seen: Map<string, string>): boolean {
    if (this.#next() !== '"')
      this.#fail(this.#isAtEnd ? 'the file ends inside an object' : 'a key in double quotes is missing before this');
    const location = `${this.#file}:${this.#lines.find(this.#at).line}`;
    const key = this.#readString();
    const before = seen.get(key);
    if (before !== undefined) {
      const message = `already set at ${before}; remove one of the two`;
      this.#problems.push({ location, key: onOneLine([...path, key].join('.')), message });
    }
    seen.set(key, location);
    this.#expect(':');
    this.#skipBlanks();
    if (this.#next() === '{') {
      this.#readObject([...path, key], location);
      return false;
    }
    this.#readSetting(path, key, location, before === undefined);
    return true;
  }

  #readSetting(path: readonly string[], key: string, location: string, isFirst: boolean): void {
    const label = [...path, key].join('.');
    const isList = this.#next() === '[';
    const value = isList ? this.#readList(location, label) : this.#readScalar();
    if (value === null && !isList)
      this.#problems.push({ location, key: onOneLine(label), message: 'null is no value; leave the key out' });
    if (path.length > 0) {
      if (isFirst) this.#entries.push({ section: path.join('.'), key, value: value ?? { type: 'broken' }, location });
      return;
    }
    // `$schema` is for editors; it sets nothing.
    if (value === null || key === '$schema') return;
    const message = `${quote(key)} stands outside of any section; write {"general": {…}}`;
    this.#problems.push({ location, key: '', message });
  }
}

/** Finds lines and columns. Quick for offsets that grow, as those of a reader do. */
class LineFinder {
  readonly #source: string;
  #line = 1;
  #lineStart = 0;
  #seen = 0;

  constructor(source: string) {
    this.#source = source;
  }

  find(offset: number): { readonly line: number; readonly column: number } {
    if (offset < this.#seen) {
      this.#line = 1;
      this.#lineStart = 0;
      this.#seen = 0;
    }
    for (; this.#seen < offset; this.#seen++) {
      if (this.#source[this.#seen] === '\n') {
        this.#line += 1;
        this.#lineStart = this.#seen + 1;
      }
    }
    return { line: this.#line, column: offset - this.#lineStart + 1 };
  }
}
