// Strict INI: every line is a blank, a comment, a section or a setting, and remembers its number. What npm's `ini`
// would pass over in silence (a cut value, a broken section line, a duplicate) is an error here; `ini` itself only
// decodes single unquoted values.

import { unsafe } from 'ini';
import { type Problem, quote } from './problem.ts';
import type { RawEntry, RawSection, RawSource } from './values.ts';
import { err, ok, type Parsed } from './values.ts';

/** After so many mistakes the file is something else; the rest would only bury the first ones. */
const MOST_PROBLEMS = 50;

/** Reads INI text. `file` is how messages name it. Never throws; a value never appears in a message. */
export function parseIni(text: string, file: string): RawSource {
  const entries = new Map<string, RawEntry>();
  const sections: RawSection[] = [];
  const problems: Problem[] = [];
  /**
   * null: before the first section; undefined: under a section line that could not be read, whose keys would only
   * mislead.
   */
  let section: string | null | undefined = null;
  let isIncomplete = false;

  const readSetting = (line: string, location: string): void => {
    const separator = line.search(/[=:]/);
    if (separator < 1 || line.slice(0, separator).trim() === '') {
      const message =
        separator < 0
          ? 'this line has no "="; write key = value, or begin a comment with #'
          : 'there is no key before the "="; write key = value';
      problems.push({ location, key: section ?? '', message });
      return;
    }
    const written = line.slice(0, separator).trim();
    const isItem = written.endsWith('[]');
    const key = isItem ? written.slice(0, -2).trim() : written;
    if (section === undefined) return;
    if (section === null) {
      problems.push({
        location,
        key: '',
        message: `${quote(key)} stands before any section; put a line like [general] above it`,
      });
      isIncomplete = true;
      return;
    }
    const value = decodeIniValue(line.slice(separator + 1));
    if (!value.ok) {
      problems.push({ location, key: `${section}.${key}`, message: value.message });
      entries.set(`${section}\n${key}`, { section, key, location, value: { type: 'broken' } });
      return;
    }
    const slot = `${section}\n${key}`;
    const before = entries.get(slot);
    if (isItem && (before === undefined || before.value.type === 'list')) {
      const items = before?.value.type === 'list' ? before.value.items : [];
      entries.set(slot, {
        section,
        key,
        location: before?.location ?? location,
        value: { type: 'list', items: [...items, value.value] },
      });
    } else if (before === undefined) {
      entries.set(slot, { section, key, location, value: { type: 'text', text: value.value } });
    } else {
      const message = `already set at ${before.location}; remove one of the two, or write ${key}[] in every line when it is a list`;
      problems.push({ location, key: `${section}.${key}`, message });
    }
  };

  let lineNumber = 0;
  for (const rawLine of text.split(/\r\n|\n|\r/)) {
    lineNumber += 1;
    // Also takes a byte order mark away.
    const line = rawLine.trim();
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue;
    if (problems.length >= MOST_PROBLEMS) {
      problems.push({
        location: `${file}:${lineNumber}`,
        key: '',
        message: 'too many mistakes; the rest of the file was not read',
      });
      isIncomplete = true;
      break;
    }
    const location = `${file}:${lineNumber}`;
    if (!line.startsWith('[')) {
      readSetting(line, location);
      continue;
    }
    const name = parseSectionLine(line);
    section = name.ok ? name.value : undefined;
    if (name.ok) sections.push({ section: name.value, location });
    else {
      isIncomplete = true;
      problems.push({ location, key: '', message: name.message });
    }
  }
  return { entries: [...entries.values()], sections, problems, isIncomplete };
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
 * One value. Double quotes hold a JSON string, single quotes hold their content as it is; unquoted, `\#`, `\;` and `\\`
 * stand for the second character. A bare `#` or `;` is refused, because other readers would cut the value there.
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
  return ok(String(unsafe(text)));
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

/** Where the first of the marks stands that has no backslash before it; -1 when there is none. */
function firstUnescaped(text: string, marks: string): number {
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at += 1;
    else if (marks.includes(text.charAt(at))) return at;
  }
  return -1;
}
