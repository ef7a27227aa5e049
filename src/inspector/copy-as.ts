// A call as text that somebody pastes and runs, against the gateway and without any secret. Pure. What callers sent is
// quoted so that nothing of it is run, read as a file's name, or left to drive a terminal.

import { isMasked, repeatedHeaders } from './repeat.ts';

/** What is copied. Strings of paths and headers hold one octet a character, as they stood on the wire. */
export interface CopiedCall {
  readonly method: string;
  readonly path: string;
  readonly credential?: string | undefined;
  /** Empty where they are not known. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string | null;
  /** Whether there was a body that is not known, or not whole. */
  readonly isBodyMissing: boolean;
}

/** The gateway that it is made against. */
export interface CopyTarget {
  /** `http://localhost:8080` */
  readonly base: string;
  /** Whether callers have to prove who they are. */
  readonly needsKey: boolean;
}

export type ShellForm = 'curl' | 'powershell' | 'httpie' | 'fetch';

/** The forms that know nothing but HTTP, with the names that people know them by. */
export const SHELL_FORMS: readonly (readonly [form: ShellForm, name: string])[] = [
  ['curl', 'curl'],
  ['powershell', 'PowerShell'],
  ['httpie', 'HTTPie'],
  ['fetch', 'fetch'],
];

/** The text; comments at its beginning say what is missing in it. */
export function copyAs(form: ShellForm, call: CopiedCall, target: CopyTarget): string {
  const request = requestOf(call, target);
  const mark = form === 'fetch' ? '// ' : '# ';
  return (
    missingIn(call)
      .map((text) => `${mark}${text}\n`)
      .join('') + WRITERS[form](request)
  );
}

/** What is not in a copy of a call, in words of ours alone. */
export function missingIn({ path, isBodyMissing, body }: CopiedCall): string[] {
  const missing: string[] = [];
  if (isMasked(path)) missing.push('A secret was masked in the path, or its end was cut: put it there yourself.');
  if (isBodyMissing) missing.push('The body is not known: it was not captured, or not whole.');
  if (body?.includes('\0')) missing.push('The body has an octet that no command line can have: it is left out.');
  return missing;
}

interface Request extends CopyTarget {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string | null;
}

/** RFC 9110, section 5.6.2: nothing else is a method. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

function requestOf({ method, path, credential, headers, body }: CopiedCall, target: CopyTarget): Request {
  const kept = repeatedHeaders(headers).filter(
    ([name, value]) => !/[\0\r\n]/.test(value) && !/^accept-encoding$/i.test(name),
  );
  const isNamed = credential !== undefined && credential !== 'default' && path.startsWith('/api/');
  return {
    ...target,
    method: TOKEN.test(method) ? method : 'GET',
    path: pathOf(path),
    headers: isNamed ? [...kept, ['X-Gateway-Credential', credential]] : kept,
    // A body of HEAD has no meaning (RFC 9110, section 9.3.2), and most programs send none.
    body: body === null || method === 'HEAD' || body.includes('\0') ? null : body,
  };
}

/**
 * The path of a target that may be a whole URL (RFC 9112, section 3.2.2). What stands behind the gateway's address must
 * begin with a slash: `m://x` behind `https://gw.example.co` would be somebody else's host, and be sent the key.
 */
export function pathOf(target: string): string {
  const path = target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  return path.startsWith('/') ? path : `/${path}`;
}

const WRITERS: Readonly<Record<ShellForm, (request: Request) => string>> = {
  curl: curlOf,
  powershell: powerShellOf,
  httpie: httpieOf,
  fetch: fetchOf,
};

/** For sh of any kind: plain text in single quotes, any other octet by printf. */
function curlOf({ base, method, path, headers, body, needsKey }: Request): string {
  const isPlain = /^[!-~]*$/.test(path);
  const parts = [
    'curl --globoff --path-as-is',
    // curl waits for the body of any other request.
    method === 'HEAD' ? '--head' : `--request ${shWord(method)}`,
  ];
  // As it is: curl would write such octets in another way.
  if (!isPlain) parts.push(`--request-target ${shWord(path)}`);
  if (needsKey) parts.push('--header "X-Gateway-Key: $GCG_KEY"');
  for (const [name, value] of headers)
    parts.push(`--header ${shWord(value === '' ? `${name};` : `${name}: ${value}`)}`);
  if (body !== null) {
    // curl has a type of its own for whatever has none.
    if (!hasHeader(headers, 'content-type')) parts.push("--header 'Content-Type:'");
    parts.push(`--data-raw ${shWord(body, true)}`);
  }
  parts.push(shWord(isPlain ? base + path : `${base}/`));
  return `${parts.join(' \\\n  ')}\n`;
}

/** Characters that a terminal shows as they are. Marks that reorder or hide text are not among them. */
const SHOWN = /[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

/**
 * A word of sh. `isText`: the characters are text, and go out as UTF-8; otherwise each is an octet. Line ends of texts
 * stand in the quotes: a command substitution would take the last ones off.
 */
export function shWord(text: string, isText = false): string {
  let word = '';
  let plain = '';
  let odd = '';
  const close = () => {
    if (plain !== '') word += `'${plain.replaceAll("'", "'\\''")}'`;
    if (odd !== '') word += `"$(printf '${odd}')"`;
    plain = odd = '';
  };
  for (const char of text) {
    const isPlain = isText ? char === '\n' || SHOWN.test(char) : char >= ' ' && char <= '~';
    if (isPlain ? odd !== '' : plain !== '') close();
    if (isPlain) plain += char;
    else for (const octet of octetsOf(char, isText)) odd += `\\${octet.toString(8).padStart(3, '0')}`;
  }
  close();
  return word === '' ? "''" : word;
}

function octetsOf(char: string, isText: boolean): Iterable<number> {
  return isText ? new TextEncoder().encode(char) : [char.charCodeAt(0) & 0xff];
}

/** What PowerShell takes for a single quote, curly ones among them. */
const POWERSHELL_QUOTES = /['\u2018\u2019\u201a\u201b]/g;

function powerShellOf({ base, method, path, headers, body, needsKey }: Request): string {
  const type = headers.find(([name]) => /^content-type$/i.test(name))?.[1];
  const entries = mergedHeaders(headers)
    .filter(([name]) => !/^content-type$/i.test(name))
    .map(([name, value]) => `${powerShellText(name)} = ${powerShellText(value)}`);
  if (needsKey) entries.unshift("'X-Gateway-Key' = $env:GCG_KEY");
  const isUsual = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/.test(method);
  const parts = [
    'Invoke-WebRequest -UseBasicParsing',
    isUsual ? `-Method ${method}` : `-CustomMethod ${powerShellText(method)}`,
    `-Uri ${powerShellText(base + path)}`,
  ];
  if (entries.length > 0) parts.push(`-Headers @{ ${entries.join('; ')} }`);
  if (type !== undefined) parts.push(`-ContentType ${powerShellText(type)}`);
  // As octets: a text would be sent in another encoding by some versions.
  if (body !== null) parts.push(`-Body ([Text.Encoding]::UTF8.GetBytes(${powerShellText(body)}))`);
  return `${parts.join(' `\n  ')}\n`;
}

/** An expression in brackets, so that it is one argument. */
function powerShellText(text: string): string {
  const parts: string[] = [];
  for (const [run] of text.matchAll(/[\p{L}\p{M}\p{N}\p{P}\p{S} ]+|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu))
    parts.push(
      SHOWN.test(run)
        ? `'${run.replaceAll(POWERSHELL_QUOTES, '$&$&')}'`
        : `[char]::ConvertFromUtf32(${run.codePointAt(0)})`,
    );
  if (parts.length === 0) return "''";
  return parts.length === 1 && parts[0]?.startsWith("'") ? (parts[0] as string) : `(${parts.join(' + ')})`;
}

function httpieOf({ base, method, path, headers, body, needsKey }: Request): string {
  const parts = ['http --ignore-stdin --path-as-is'];
  if (body !== null) parts.push(`--raw ${shWord(body, true)}`);
  parts.push(shWord(method), shWord(base + path));
  if (needsKey) parts.push('"X-Gateway-Key:$GCG_KEY"');
  for (const [name, value] of headers) if (isHttpieItem(value)) parts.push(shWord(httpieItem(name, value)));
  return `${parts.join(' \\\n  ')}\n`;
}

/** A backslash before what HTTPie reads as a mark cannot be written. */
function isHttpieItem(value: string): boolean {
  return !/\\[:;=@]/.test(value);
}

/** Behind the colon `@` would read a file, and `=` read JSON. */
function httpieItem(name: string, value: string): string {
  return value === '' ? `${name};` : `${name}:${value.replace(/^[:;=@]/, '\\$&')}`;
}

function fetchOf({ base, method, path, headers, body, needsKey }: Request): string {
  const entries = headers.map(([name, value]) => `    [${quoted(name)}, ${quoted(value)}],\n`);
  if (needsKey) entries.unshift("    ['X-Gateway-Key', process.env.GCG_KEY],\n");
  const lines = [`  method: ${quoted(method)},\n`];
  if (entries.length > 0) lines.push(`  headers: [\n${entries.join('')}  ],\n`);
  if (body !== null && method === 'GET') lines.push('  // Its body is left out: fetch sends none with GET.\n');
  else if (body !== null) lines.push(`  body: ${quoted(body)},\n`);
  return `const response = await fetch(${quoted(base + path)}, {\n${lines.join('')}});\nconsole.log(response.status, await response.text());\n`;
}

/**
 * A string in double quotes, as JavaScript, Python, Java, C# and Go read it alike: what is not shown as it is stands as
 * an escape.
 */
export function quoted(text: string): string {
  let out = '';
  for (const char of JSON.stringify(text))
    out += SHOWN.test(char)
      ? char
      : [...utf16Of(char)].map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
  return out;
}

function* utf16Of(char: string): Iterable<number> {
  for (let at = 0; at < char.length; at++) yield char.charCodeAt(at);
}

function hasHeader(headers: Request['headers'], wanted: string): boolean {
  return headers.some(([name]) => name.toLowerCase() === wanted);
}

/** One value a name, for what takes no more (RFC 9110, section 5.3). */
export function mergedHeaders(headers: Request['headers']): (readonly [name: string, value: string])[] {
  const merged = new Map<string, readonly [string, string]>();
  for (const [name, value] of headers) {
    const before = merged.get(name.toLowerCase());
    merged.set(name.toLowerCase(), before === undefined ? [name, value] : [before[0], `${before[1]}, ${value}`]);
  }
  return [...merged.values()];
}
