// Reads what Genesys' own CLI writes into config.toml: tables of strings, numbers and booleans. Anything else of TOML is refused by its line,
// never guessed at, and no value appears in a message.

/** A table by its name; keys and values as written, all values as text. */
export type TomlTables = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** What was read, or why not. */
export type TomlResult = { readonly ok: true; readonly tables: TomlTables } | { readonly ok: false; readonly message: string };

const HEADER = /^\[\s*(?:"([^"\\]*)"|'([^']*)'|([\w-]+))\s*\]\s*(?:#.*)?$/;
const SETTING = /^(?:"([^"\\]*)"|'([^']*)'|([\w-]+))\s*=\s*(.*)$/;
const SIMPLE_ESCAPES: Readonly<Record<string, string>> = { b: '\b', t: '\t', n: '\n', f: '\f', r: '\r', '"': '"', '\\': '\\' };

/** Never throws. */
export function parseGcToml(text: string): TomlResult {
  const tables = new Map<string, Map<string, string>>();
  let table: Map<string, string> | null = null;
  let lineNumber = 0;
  for (const rawLine of text.replace(/^\ufeff/, '').split(/\r?\n/)) {
    lineNumber += 1;
    const refuse = (why: string): TomlResult => ({ ok: false, message: `line ${lineNumber}: ${why}` });
    const line = rawLine.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      const header = HEADER.exec(line);
      if (header === null) return refuse('not a plain [table]');
      const name = header[1] ?? header[2] ?? header[3] ?? '';
      if (tables.has(name)) return refuse('this table is there twice');
      table = new Map();
      tables.set(name, table);
      continue;
    }
    const setting = SETTING.exec(line);
    if (setting === null) return refuse('neither a [table] nor key = value');
    const key = setting[1] ?? setting[2] ?? setting[3] ?? '';
    const value = parseValue(setting[4] ?? '');
    if (value === null) return refuse(`the value of ${key.replace(/[^\w-]/g, '?')} is not a string, a number or a boolean on one line`);
    // Settings before the first table are the CLI's own.
    if (table?.has(key)) return refuse('this key is there twice');
    table?.set(key, value);
  }
  return { ok: true, tables };
}

function parseValue(text: string): string | null {
  if (text.startsWith('"') && !text.startsWith('"""')) return parseBasicString(text);
  const literal = /^'([^']*)'\s*(?:#.*)?$/.exec(text);
  if (literal !== null) return literal[1] ?? '';
  const bare = /^(true|false|[+-]?\d[\d_]*(?:\.\d+)?)\s*(?:#.*)?$/.exec(text);
  return bare?.[1]?.replaceAll('_', '') ?? null;
}

function parseBasicString(text: string): string | null {
  let out = '';
  for (let at = 1; at < text.length; at += 1) {
    const char = text[at] as string;
    if (char === '"') return /^\s*(?:#.*)?$/.test(text.slice(at + 1)) ? out : null;
    if (char !== '\\') {
      out += char;
      continue;
    }
    at += 1;
    const kind = text[at] ?? '';
    const length = kind === 'u' ? 4 : kind === 'U' ? 8 : 0;
    if (length === 0) {
      const simple = SIMPLE_ESCAPES[kind];
      if (simple === undefined) return null;
      out += simple;
      continue;
    }
    const digits = text.slice(at + 1, at + 1 + length);
    const point = Number.parseInt(digits, 16);
    if (!new RegExp(`^[0-9a-fA-F]{${length}}$`).test(digits) || point > 0x10ffff) return null;
    out += String.fromCodePoint(point);
    at += length;
  }
  return null;
}
