// The shape of a JSON body: which fields there are and of what kind, without what is in them. Pure.

const MOST_NODES = 2_000;
const DEEPEST = 24;

/** A word like `active`, of a field that holds one of a few, and not somebody's name. */
const WORD = /^[a-z][a-z_]{0,23}$/;
const FREE_TEXT =
  /name|title|text|note|comment|description|message|address|mail|user|first|last|city|subject|label|tag/i;
/** What stands for a secret: it says nothing. */
const MASK = /^\[redacted(?:~[A-Z2-9]{10})?\]$/;
/** A field's name, and no data in the place of one. */
const FIELD = /^[A-Za-z_$@][\w$.-]{0,63}$/;
const DATA = /\d{4}|[0-9a-f]{8}/i;

/**
 * The shape of a body's text: `{"id":"string(36)","count":"number"}`; of an array its first element, and how many there
 * are. Null for what is no JSON.
 */
export function shapeOfBody(text: string): string | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  let nodes = 0;
  const shape = (value: unknown, name: string, depth: number): unknown => {
    nodes += 1;
    if (value === null) return null;
    if (typeof value === 'string') return shapeOfString(value, name);
    if (typeof value !== 'object') return typeof value;
    if (depth >= DEEPEST || nodes > MOST_NODES) return Array.isArray(value) ? 'array' : 'object';
    if (Array.isArray(value)) {
      if (value.length === 0) return [];
      const first = shape(value[0], name, depth + 1);
      return value.length === 1 ? [first] : [first, `× ${value.length}`];
    }
    const out: [string, unknown][] = [];
    for (const [key, item] of Object.entries(value)) {
      const shown = FIELD.test(key) && !DATA.test(key) ? key : '{key}';
      out.push([shown, shape(item, key, depth + 1)]);
    }
    return Object.fromEntries(out);
  };
  return JSON.stringify(shape(parsed, '', 0));
}

function shapeOfString(value: string, name: string): string {
  if (MASK.test(value)) return value;
  return WORD.test(value) && !FREE_TEXT.test(name) ? value : `string(${value.length})`;
}
