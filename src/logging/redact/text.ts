// Masks secrets in free text: messages, header values, parameter values, bodies that are no JSON. Pure, and linear in
// the length of its input: every look back is bounded and every look ahead is paid for by the text it consumes. What a
// JSON document means is not looked at here.

import { hash } from 'node:crypto';
import { isMask, maskEnd, maskOf } from './mask.ts';
import {
  compactName,
  isHarmlessCode,
  isPasswordName,
  isSecretName,
  isSecretState,
  isTokenState,
  percentDecode,
} from './secret-names.ts';

/** Text without any of these cannot hold what we look for. */
const SUSPECT = /[=:%@<]|bearer|basic|negotiate|ntlm|gcg[a-z]_|eyj|channels|streaming-/i;

const SCHEME = new RegExp(
  String.raw`\b(bearer|basic|negotiate|ntlm)((?:\s|%20|\+){1,8})` +
    String.raw`(?!(?:auth\w*|credentials?|tokens?|scheme|challenge|realm)\b)[\w.~+/=%-]{4,}`,
  'gi',
);
/** The letter tells our secrets from our names: `GCG_CREDENTIAL_CLIENT_ID`, `gcg_requests_total`. */
const LOCAL_TOKEN = /\bgcg[a-z]_[\w.~+/=-]+/gi;
const JWT = /eyJ[\w-]{8,}(?:\.[\w-]*){0,4}/g;
const CHANNEL_PATH = /(channels(?:\/|\\\/|%2f)(?:\/|\\\/|%2f|\.\/)*)([^/\\\s?#"'<>&%,;]+)/gi;
const CHANNEL_ID = /\bstreaming-\d+-[\w-]+/gi;
const USERINFO = /(:(?:\/|\\\/){2})[^\s/\\?#"'<>]*@/g;
/** Up to the colon behind a name; what stands behind it is no port. */
const SLASHED_NAME = /:\/\/[^\s/?#"'<>@:]{0,128}:(?!\d{1,5}(?:[/?#\s"'<>]|$))/g;
const LONGEST_SLASHED = 512;
const PERCENT_ROUNDS = 8;

/** What is shown of a channel id: enough to follow one channel through a log. */
export function fingerprintOf(secret: string): string {
  return `~${hash('sha256', secret, 'hex').slice(0, 12)}`;
}

/**
 * Masks what is recognisably secret, by its label (`access_token=`, `"password":`) or by its shape (`Bearer …`,
 * `gcgh_…`, JWT, channel id).
 */
export function redactText(text: string): string {
  if (!SUSPECT.test(text)) return text;
  const plain = redactPlain(text);
  return plain.includes('%')
    ? plain.replace(/[^\s"'<>]+/g, (run) => (run.includes('%') ? redactEncoded(run) : run))
    : plain;
}

/**
 * Masks what is secret by its shape alone, in a sentence of ours. Labels mean nothing there: "wrongsecret.ini:6: there
 * is no key …" and "send its secret as Bearer" hold no secret.
 */
export function redactWords(words: string): string {
  if (!SUSPECT.test(words)) return words;
  return words
    .replace(LOCAL_TOKEN, maskHandle)
    .replace(JWT, maskOf)
    .replace(USERINFO, maskUserinfo)
    .replace(CHANNEL_ID, fingerprintOf);
}

const maskScheme = (match: string, scheme: string, gap: string): string =>
  scheme + gap + maskOf(match.slice(scheme.length + gap.length));
const maskHandle = (handle: string): string => `gcgh_${maskOf(handle)}`;
const maskUserinfo = (match: string, slashes: string): string =>
  `${slashes}${maskOf(match.slice(slashes.length, -1))}@`;

/** Looks below each layer of percent-encoding; the run stays as it was unless something was found. */
function redactEncoded(run: string): string {
  let text = run;
  let found = false;
  for (let round = 0; round < PERCENT_ROUNDS; round++) {
    const decoded = percentDecode(text);
    if (decoded === text) return found ? text.replace(/[\s"<>]/g, encodeURIComponent) : run;
    text = redactPlain(decoded);
    found ||= text !== decoded;
  }
  return percentDecode(text) === text && !found ? run : maskOf(run);
}

function redactPlain(text: string): string {
  return redactSlashedUserinfo(
    redactElements(redactLabelled(text))
      .replace(SCHEME, maskScheme)
      .replace(LOCAL_TOKEN, maskHandle)
      .replace(JWT, maskOf)
      .replace(USERINFO, maskUserinfo),
  )
    .replace(
      CHANNEL_PATH,
      (_, prefix: string, id: string) => prefix + (/^~[0-9a-f]{12}$/.test(id) ? id : fingerprintOf(id)),
    )
    .replace(CHANNEL_ID, fingerprintOf);
}

/**
 * A password with a raw slash, as people paste them. By hand: a pattern that goes back through 512 characters at each
 * `://` takes seconds for a body.
 */
function redactSlashedUserinfo(text: string): string {
  if (!text.includes('@')) return text;
  let out = '';
  let done = 0;
  SLASHED_NAME.lastIndex = 0;
  for (let match = SLASHED_NAME.exec(text); match !== null; match = SLASHED_NAME.exec(text)) {
    const from = SLASHED_NAME.lastIndex;
    // The next name may begin with this one's colon.
    SLASHED_NAME.lastIndex = from - 1;
    const ahead = text.slice(from, from + LONGEST_SLASHED + 1);
    if (!ahead.includes('@')) continue;
    const at = (/^[^\s"'<>]*/.exec(ahead)?.[0] ?? '').lastIndexOf('@');
    if (at === -1) continue;
    out += `${text.slice(done, match.index)}://${maskOf(text.slice(match.index + 3, from + at))}`;
    done = from + at;
    SLASHED_NAME.lastIndex = done;
  }
  return done === 0 ? text : out + text.slice(done);
}

const LONGEST_TAG = 1024;

/** `<password>…</password>`, and whole elements such as a SAML assertion. */
function redactElements(text: string): string {
  if (!text.includes('</')) return text;
  let out = '';
  let done = 0;
  for (let at = text.indexOf('<'); at !== -1; at = text.indexOf('<', Math.max(at + 1, done))) {
    const name = /^<([a-z][\w:.-]{0,63})/i.exec(text.slice(at, at + 66))?.[1];
    if (name === undefined || !isSecretName(name, 'field')) continue;
    const tagEnd = text.slice(at, at + LONGEST_TAG).indexOf('>');
    if (tagEnd === -1 || text[at + tagEnd - 1] === '/') continue;
    const start = at + tagEnd + 1;
    const close = text.indexOf(`</${name}`, start);
    const end = close === -1 ? text.length : close;
    out += text.slice(done, start) + maskOf(text.slice(start, end));
    done = end;
  }
  return done === 0 ? text : out + text.slice(done);
}

const NAME_LOOK_BACK = 200;
const GAP_LOOK_BACK = 64;

/** `name=value`, `name: value`, `"name":"value"`, at any depth of backslashes. */
function redactLabelled(text: string): string {
  let out = '';
  let done = 0;
  for (let at = 0; at < text.length; at++) {
    const separator = text[at];
    if (separator !== '=' && separator !== ':') continue;
    const name = nameBefore(text, at, done);
    if (name === '') continue;
    const before = text[at - name.length - 1];
    const kind = separator === '=' && (before === '?' || before === '&' || before === '#') ? 'param' : 'field';
    // Asked before the value is looked for: a value that is looked at and then left is looked at again, by the next
    // name within it.
    const isState = separator === '=' && /state$/i.test(name) && compactName(name) === 'state';
    if (!isState && !isSecretName(name, kind)) continue;
    const [start, end] = valueAfter(text, at, name);
    const value = text.slice(start, end);
    if (start === end || isMask(value) || isHarmless(name, value, separator, isState)) continue;
    out += text.slice(done, start) + maskOf(value);
    done = end;
    at = end - 1;
  }
  return done === 0 ? text : out + text.slice(done);
}

function isHarmless(name: string, value: string, separator: string, isState: boolean): boolean {
  if (isState) return !isSecretState(name, value);
  if (separator === '=') return false;
  if (value === 'null' || value === 'true' || value === 'false' || isTokenState(value) || isHarmlessCode(name, value))
    return true;
  // Prose: "the token: expired", "refused the token: invalid_client". A password may look like that too.
  return /^[a-z_]{1,24}[.,;!]?$/.test(value) && !isPasswordName(name);
}

function nameBefore(text: string, separatorAt: number, floor: number): string {
  let end = separatorAt;
  for (
    const lowest = Math.max(floor, separatorAt - GAP_LOOK_BACK);
    end > lowest && /[\s"'`\\]/.test(text[end - 1] as string);
  )
    end--;
  let start = end;
  for (
    const lowest = Math.max(floor, end - NAME_LOOK_BACK);
    start > lowest && /[\w\-.%[\]\\]/.test(text[start - 1] as string);
  )
    start--;
  return text.slice(start, end);
}

/**
 * Where the value lies: between its quotes (of whatever depth), to its closing bracket, or to what ends a bare word.
 */
function valueAfter(text: string, separatorAt: number, name: string): [start: number, end: number] {
  const isAssignment = text[separatorAt] === '=';
  let start = separatorAt + 1;
  while (isAssignment ? text[start] === ' ' || text[start] === '\t' : /\s/.test(text[start] ?? '')) start++;
  let slashes = 0;
  while (text[start + slashes] === '\\') slashes++;
  const opening = text[start + slashes];
  if (opening === '"' || opening === "'" || opening === '`') {
    const first = start + slashes + 1;
    return [first, quoteEnd(text, first, opening, slashes)];
  }
  const masked = maskEnd(text, start);
  if ((opening === '{' || opening === '[') && masked === start) return [start, bracketEnd(text, start)];
  const isHeaderLine = !isAssignment && /authorization|cookie/i.test(name);
  let end = masked;
  for (; end < text.length; end++) {
    const char = text[end] as string;
    if (char === '\n' || char === '\r') break;
    if (isHeaderLine) continue;
    if (/[\s"'`<>]/.test(char) || (isAssignment && char === '&')) break;
    if (/[,;})\]]/.test(char) && /^\s?$/.test(text[end + 1] ?? '')) break;
  }
  return [start, end];
}

/**
 * The closing quote has as many backslashes as the opening one, or that many after whole escaped pairs of its own
 * depth.
 */
function quoteEnd(text: string, first: number, quote: string, slashes: number): number {
  let run = 0;
  for (let at = first; at < text.length; at++) {
    const char = text[at];
    if (char === '\\') {
      run++;
      continue;
    }
    if (char === quote && (run <= slashes || (run - slashes) % (2 * (slashes + 1)) === 0))
      return at - Math.min(run, slashes);
    run = 0;
  }
  return text.length;
}

function bracketEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const char = text[at];
    if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) return at + 1;
  }
  return text.length;
}
