// Masks secrets in request targets, parameters and headers, for everything that is logged or shown. Pure; runs on every
// exchange, so what needs no masking is recognised first and returned as it came.

import type { RawHeaders } from '../exchange-record.ts';
import { cutMark } from './live-secrets.ts';
import { maskOf } from './mask.ts';
import { isSecretName, isSecretState, percentDecode } from './secret-names.ts';
import { fingerprintOf, redactText } from './text.ts';

/** A path without any of these holds nothing to mask. */
const SUSPECT_PATH = /[#%;@:=\\]|channels|streaming-|gcg[a-z]_|eyj|bearer/i;

/**
 * A target with a query and without any of these holds nothing to mask: no secret name contains none of these words,
 * and nothing is encoded.
 */
const SUSPECT = new RegExp(
  String.raw`[#%;@:\\]|channels|streaming-|gcg[a-z]_|eyj|bearer|basic|negotiate|ntlm|token|secret|pass|assertion|auth` +
    '|cookie|key|saml|verifier|code|pwd|pin|otp|jwt|sid|handle|sig|state',
  'i',
);

/**
 * A request target or URL fit for a log: query, form-like fragment and path parameters with secret values masked, user
 * information gone, notification channel ids as fingerprints. Names are compared decoded; what is not masked stays
 * octet for octet.
 */
export function redactTarget(target: string): string {
  if (!(target.includes('?') ? SUSPECT : SUSPECT_PATH).test(target)) return target;
  const hashAt = target.indexOf('#');
  const end = hashAt === -1 ? target.length : hashAt;
  const queryAt = target.lastIndexOf('?', end) === -1 ? -1 : target.indexOf('?');
  const pathEnd = queryAt === -1 || queryAt > end ? end : queryAt;
  let out = redactPath(target.slice(0, pathEnd));
  if (pathEnd < end) out += `?${redactParams(target.slice(pathEnd + 1, end))}`;
  if (hashAt !== -1) out += `#${redactParams(target.slice(hashAt + 1))}`;
  return out;
}

function redactPath(path: string): string {
  if (!SUSPECT_PATH.test(path)) return path;
  const decoded = decodeFully(path);
  if (!/channels/i.test(decoded)) return redactText(path);
  // Whatever stands behind `channels` and is no plain word is an id, also where dot segments or empty segments try to
  // hide it.
  let isBehind = false;
  let isNext = false;
  const masked = path.split('/').map((segment) => {
    const plain = decodeFully(segment);
    if (isBehind && segment !== '' && plain !== '.' && (isNext || !/^[a-z]{1,24}$/i.test(plain))) {
      isNext = false;
      return fingerprintOf(plain);
    }
    if (/^channels$/i.test(plain)) isBehind = isNext = true;
    return segment;
  });
  return redactText(masked.join('/'));
}

/** Parameters of a query, a form or a fragment (`a=1&b=2`), without the leading `?` or `#`. */
export function redactParams(params: string): string {
  if (params === '') return params;
  let out = '';
  for (const param of params.split('&')) {
    if (out !== '' || params.startsWith('&')) out += '&';
    out += redactParam(param);
  }
  return params.startsWith('&') ? out.slice(1) : out;
}

function redactParam(param: string): string {
  const equalsAt = param.indexOf('=');
  if (equalsAt === -1) return redactText(param);
  const rawName = param.slice(0, equalsAt);
  const value = param.slice(equalsAt + 1);
  const name = rawName.includes('%') || rawName.includes('+') ? decodeFully(rawName.replaceAll('+', ' ')) : rawName;
  const shownName = redactText(rawName);
  if (value !== '' && (isSecretName(name, 'param') || isSecretState(name, value)))
    return `${shownName}=${maskOf(value)}`;
  return `${shownName}=${redactText(value)}`;
}

const DECODE_ROUNDS = 8;

function decodeFully(text: string): string {
  let decoded = text;
  for (let round = 0; round < DECODE_ROUNDS && decoded.includes('%'); round++) {
    const next = percentDecode(decoded);
    if (next === decoded) break;
    decoded = next;
  }
  return decoded;
}

/** Headers whose value is a URL or holds one. */
const URL_HEADERS = /^(?:location|content-location|referer|origin)$/i;

/** One header's value fit for a log. Spelling of the name (case, underscores) does not matter. */
export function redactHeader(name: string, value: string): string {
  if (isSecretName(name, 'header')) return maskOf(value);
  return redactText(URL_HEADERS.test(name) ? redactTarget(value) : value);
}

/**
 * A record shows this much of a path or of one header's value, in characters; what is longer was not meant to be read.
 */
export const LONGEST_SHOWN = 8192;
const LONGEST_NAME = 256;
const LONGEST_LAST_WORD = 512;

/**
 * The beginning of a value that is too long to be shown, through `redact`, and marked. The word that the cut goes
 * through is left out, unless it is a long one: some secrets are known by what follows them (`://user:password@`).
 */
export function cutLong(value: string, redact: (beginning: string) => string, limit = LONGEST_SHOWN): string {
  if (value.length <= limit) return redact(value);
  let end = limit;
  while (end > limit - LONGEST_LAST_WORD && !/[\s/?&#,;]/.test(value[end - 1] as string)) end--;
  if (end === limit - LONGEST_LAST_WORD) end = limit;
  return redact(value.slice(0, end)) + cutMark(end, `characters of ${value.length}`);
}

/**
 * Headers as a plain dictionary fit for a log, names as they came; a repeated header becomes a list, what is long is
 * cut and marked.
 */
export function redactHeaders(headers: RawHeaders): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = Object.create(null);
  for (const [name, shown] of redactHeaderList(headers)) {
    const existing = out[name];
    if (existing === undefined) out[name] = shown;
    else if (typeof existing === 'string') out[name] = [existing, shown];
    else existing.push(shown);
  }
  return out;
}

/** The same one by one, in their order. */
export function redactHeaderList(headers: RawHeaders): [name: string, value: string][] {
  const out: [string, string][] = [];
  const add = (fullName: string, value: string) => {
    const name =
      fullName.length > LONGEST_NAME
        ? fullName.slice(0, LONGEST_NAME) + cutMark(LONGEST_NAME, `of ${fullName.length}`)
        : fullName;
    out.push([name, cutLong(value, (beginning) => redactHeader(fullName, beginning))]);
  };
  if (Array.isArray(headers)) {
    for (let at = 0; at + 1 < headers.length; at += 2) add(latin1(headers[at]), latin1(headers[at + 1]));
    return out;
  }
  for (const [name, value] of Object.entries(headers as Record<string, string | string[] | undefined>)) {
    if (typeof value === 'string') add(name, value);
    else for (const one of value ?? []) add(name, one);
  }
  return out;
}

function latin1(value: string | Buffer): string {
  return typeof value === 'string' ? value : value.toString('latin1');
}
