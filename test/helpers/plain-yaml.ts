// Reads the plain part of YAML that our examples keep to: maps, lists, quoted and plain scalars, literal blocks,
// several documents. It refuses what it does not know, so that an example cannot slip by unread.

type Value = string | Value[] | { [key: string]: Value };

interface Line {
  readonly indent: number;
  readonly text: string;
  readonly number: number;
}

/** All documents of a file. Throws with the line's number. */
export function parsePlainYaml(text: string): Value[] {
  if (text.includes('\t')) throw new Error('tabs indent nothing in YAML');
  return text.split(/^---$/m).map((document) => {
    const raw = document.split('\n');
    const reader = { raw, at: 0 };
    const value = readBlock(reader, 0);
    if (peek(reader) !== null) throw new Error(`line ${peek(reader)?.number}: not indented as what is before it`);
    return value;
  });
}

interface Reader {
  readonly raw: readonly string[];
  at: number;
}

function peek(reader: Reader): Line | null {
  for (; reader.at < reader.raw.length; reader.at += 1) {
    const line = reader.raw[reader.at] as string;
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue;
    return { indent: line.length - line.trimStart().length, text: line.trim(), number: reader.at + 1 };
  }
  return null;
}

function readBlock(reader: Reader, indent: number): Value {
  const first = peek(reader);
  if (first === null || first.indent < indent) return '';
  return first.text.startsWith('- ') || first.text === '-'
    ? readList(reader, first.indent)
    : readMap(reader, first.indent);
}

function readList(reader: Reader, indent: number): Value[] {
  const items: Value[] = [];
  for (
    let line = peek(reader);
    line !== null && line.indent === indent && line.text.startsWith('-');
    line = peek(reader)
  ) {
    const rest = line.text.slice(1).trimStart();
    if (/^[\w./-]+:(?: |$)/.test(rest)) {
      // A map whose first key stands behind the dash: read it as if it stood alone.
      const inner = indent + line.text.length - rest.length;
      (reader.raw as string[])[reader.at] = ' '.repeat(inner) + rest;
      items.push(readMap(reader, inner));
    } else {
      reader.at += 1;
      items.push(rest === '|' ? readLiteral(reader, indent) : scalar(rest, line.number));
    }
  }
  return items;
}

function readMap(reader: Reader, indent: number): { [key: string]: Value } {
  const map: { [key: string]: Value } = {};
  for (let line = peek(reader); line !== null && line.indent === indent; line = peek(reader)) {
    const [, key, rest = ''] = /^("?[\w./-]+"?):(?: (.*))?$/.exec(line.text) ?? [];
    if (key === undefined) throw new Error(`line ${line.number}: neither a key nor an item`);
    if (Object.hasOwn(map, key)) throw new Error(`line ${line.number}: ${key} a second time`);
    reader.at += 1;
    if (rest === '|') map[key] = readLiteral(reader, indent);
    else if (rest !== '') map[key] = scalar(rest, line.number);
    else {
      const next = peek(reader);
      const isList = next?.indent === indent && next.text.startsWith('- ');
      map[key] = isList ? readList(reader, indent) : readBlock(reader, indent + 1);
    }
  }
  return map;
}

function readLiteral(reader: Reader, indent: number): string {
  const lines: string[] = [];
  for (; reader.at < reader.raw.length; reader.at += 1) {
    const line = reader.raw[reader.at] as string;
    if (line.trim() !== '' && line.length - line.trimStart().length <= indent) break;
    lines.push(line);
  }
  const own = Math.min(
    ...lines.filter((line) => line.trim() !== '').map((line) => line.length - line.trimStart().length),
  );
  return lines.map((line) => line.slice(own)).join('\n');
}

function scalar(text: string, number: number): Value {
  if (text.startsWith('[') && text.endsWith(']')) return JSON.parse(text) as string[];
  if (text.startsWith('"') && text.endsWith('"')) return JSON.parse(text) as string;
  if (/^["'&*!>{[%@`]|: | #/.test(text)) throw new Error(`line ${number}: write ${text} more plainly`);
  return text;
}
