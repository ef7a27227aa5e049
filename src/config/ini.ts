// Strict INI: every line is a blank, a comment, a section or a setting, and remembers its number. What npm's `ini`
// would pass over in silence (a cut value, a broken section line, a duplicate) is an error here. A single value means
// the same to both.

import { type Problem, quote } from './problem.ts';
import type { RawEntry, RawSection, RawSource } from './values.ts';
import { err, ok, type Parsed } from './values.ts';

/** Problems after which reading stops: such a file is probably no configuration. */
const MOST_PROBLEMS = 50;

/** Reads INI text. `file` is how messages name it. Never throws; a value never appears in a message. */
export function parseIni(text: string, file: string): RawSource {
  const reader = new IniReader();
  for (const [index, line] of text.split(/\r\n|\n|\r/).entries()) {
    // `trim` also takes a byte order mark away.
    if (!reader.take(line.trim(), `${file}:${index + 1}`)) break;
  }
  return reader.result();
}

/** Takes the lines of a file, one by one. */
class IniReader {
  readonly #entries = new Map<string, RawEntry>();
  readonly #sections: RawSection[] = [];
  readonly #problems: Problem[] = [];
  /** null: before the first section; undefined: below a section line that could not be read. */
  #section: string | null | undefined = null;
  #isIncomplete = false;

  result(): RawSource {
    return {
      entries: [...this.#entries.values()],
      sections: this.#sections,
      problems: this.#problems,
      isIncomplete: this.#isIncomplete,
    };
  }

  /** Takes one line; false when there were so many mistakes that the rest is not worth reading. */
  take(line: string, location: string): boolean {
    if (line === '' || line.startsWith('#') || line.startsWith(';')) return true;
    if (this.#problems.length >= MOST_PROBLEMS) {
      this.#addProblem(location, '', 'too many mistakes; the rest of the file was not read');
      this.#isIncomplete = true;
      return false;
    }
    if (line.startsWith('[')) this.#takeSection(line, location);
    else this.#takeSetting(line, location);
    return true;
  }

  #takeSection(line: string, location: string): void {
    const name = parseSectionLine(line);
    this.#section = name.ok ? name.value : undefined;
    if (name.ok) {
      this.#sections.push({ section: name.value, location });
      return;
    }
    this.#isIncomplete = true;
    this.#addProblem(location, '', name.message);
  }

  #takeSetting(line: string, location: string): void {
    const section = this.#section;
    const separator = line.search(/[=:]/);
    if (separator < 1 || line.slice(0, separator).trim() === '') {
      const message =
        separator < 0
          ? 'this line has no "="; write key = value, or begin a comment with #'
          : 'there is no key before the "="; write key = value';
      this.#addProblem(location, section ?? '', message);
      return;
    }
    // Reported with the section line: problems with its keys would only mislead.
    if (section === undefined) return;
    const written = line.slice(0, separator).trim();
    const isItem = written.endsWith('[]');
    const key = isItem ? written.slice(0, -2).trim() : written;
    if (section === null) {
      this.#addProblem(location, '', `${quote(key)} stands before any section; put a line like [general] above it`);
      this.#isIncomplete = true;
      return;
    }
    const value = decodeIniValue(line.slice(separator + 1));
    if (value.ok) {
      this.#addValue({ section, key, value: { type: 'text', text: value.value }, location }, isItem, value.value);
      return;
    }
    this.#addProblem(location, `${section}.${key}`, value.message);
    this.#entries.set(`${section}\n${key}`, { section, key, location, value: { type: 'broken' } });
  }

  /** Adds a setting, or an item to one that is a list. */
  #addValue(entry: RawEntry, isItem: boolean, text: string): void {
    const { section, key, location } = entry;
    const slot = `${section}\n${key}`;
    const before = this.#entries.get(slot);
    if (isItem && (before === undefined || before.value.type === 'list')) {
      const items = before?.value.type === 'list' ? before.value.items : [];
      this.#entries.set(slot, { ...(before ?? entry), value: { type: 'list', items: [...items, text] } });
    } else if (before === undefined) {
      this.#entries.set(slot, entry);
    } else {
      const advice = `remove one of the two, or write ${key}[] in every line when it is a list`;
      this.#addProblem(location, `${section}.${key}`, `already set at ${before.location}; ${advice}`);
    }
  }

  #addProblem(location: string, key: string, message: string): void {
    this.#problems.push({ location, key, message });
  }
}

function parseSectionLine(line: string): Parsed<string> {
  const end = line.indexOf(']');
  if (end < 0) return err('this section line has no closing "]"; write [name]');
  if (end !== line.length - 1)
    return err('nothing may follow the "]" of a section, not even a comment; put it on a line of its own');
  const name = line.slice(1, end).trim();
  if (name === '' || name.includes('[')) return err('this section line has no proper name; write [name]');
  return ok(name);
}

/**
 * Decodes one value. Double quotes hold a JSON string, single quotes hold their content as it is; unquoted, `\#`, `\;`
 * and `\\` stand for the second character. A bare `#` or `;` is refused, because other readers would cut the value
 * there.
 */
export function decodeIniValue(raw: string): Parsed<string> {
  const text = raw.trim();
  if (text.startsWith('"')) return decodeDoubleQuoted(text);
  if (text.startsWith("'")) {
    const inner = text.slice(1, -1);
    if (text.length < 2 || !text.endsWith("'") || inner.includes("'"))
      return err('the \' is not closed at the end of the line; use "…" instead');
    return ok(inner);
  }
  const cut = firstUnescaped(text, '#;');
  if (cut >= 0) {
    const mark = text[cut];
    return err(
      `an unquoted "${mark}" would cut the value; write it in double quotes, or as \\${mark}; a comment needs a ` +
        'line of its own',
    );
  }
  return ok(text.includes('\\') ? text.replace(/\\([\\#;])/g, '$1').trim() : text);
}

function decodeDoubleQuoted(text: string): Parsed<string> {
  if (firstUnescaped(text.slice(1), '"') !== text.length - 2) {
    return err('the double quotes are not closed at the end of the line; write "value" and nothing after it');
  }
  try {
    return ok(String(JSON.parse(text)));
  } catch {
    return err(
      'inside double quotes a backslash is written \\\\ and no control character is allowed; or use single quotes',
    );
  }
}

/** The index of the first of the marks without a backslash before it; -1 when there is none. */
function firstUnescaped(text: string, marks: string): number {
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at += 1;
    else if (marks.includes(text.charAt(at))) return at;
  }
  return -1;
}
