// Which header lines pass the gateway, in both directions: pure functions over flat name, value lists. Strips first;
// what is ours is added after. A Location that names the upstream's own host is turned to ours: it would lead the
// caller past the gateway, without a token.

import type { UrlBase } from '../config/gateway-config.ts';

/** What the gateway does with a header name it meets. */
const DROP = 1;
const AUTHORIZATION = 2;
const CONNECTION = 3;
const LOCATION = 4;
const CORRELATION = 5;
const INSTANCE = 6;
const CONTENT_TYPE = 7;
const TYPE_OPTIONS = 8;
const CHALLENGE = 9;
const CONTENT_LENGTH = 10;
const PASS = 0;

/** Hop-by-hop in both directions: RFC 9110 section 7.6.1, and what its predecessors listed. */
const HOP_BY_HOP = ['keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'proxy-connection'];

const REQUEST_RULES = new Map<string, number>([
  ...HOP_BY_HOP.map((name) => [name, DROP] as const),
  ['connection', CONNECTION],
  ['authorization', AUTHORIZATION],
  ...['host', 'expect', 'cookie', 'forwarded'].map((name) => [name, DROP] as const),
  ['x-gateway-instance', INSTANCE],
]);
const REQUEST_PREFIXES = ['proxy-', 'x-gateway-', 'x-forwarded-'];

const RESPONSE_RULES = new Map<string, number>([
  ...HOP_BY_HOP.map((name) => [name, DROP] as const),
  ['connection', CONNECTION],
  ...['set-cookie', 'strict-transport-security', 'alt-svc'].map((name) => [name, DROP] as const),
  // What a browser would do to, or report of, everything at our address.
  ...['clear-site-data', 'service-worker-allowed', 'nel', 'report-to', 'reporting-endpoints'].map(
    (name) => [name, DROP] as const,
  ),
  ['content-type', CONTENT_TYPE],
  ['content-length', CONTENT_LENGTH],
  ['x-content-type-options', TYPE_OPTIONS],
  ['www-authenticate', CHALLENGE],
  ['location', LOCATION],
  ['inin-correlation-id', CORRELATION],
]);
const RESPONSE_PREFIXES = ['proxy-', 'x-gateway-', 'access-control-'];

/** A name's rule, remembered under the spelling it came in, so that the usual headers cost one look-up. */
function createClassifier(rules: ReadonlyMap<string, number>, prefixes: readonly string[]): (name: string) => number {
  const known = new Map<string, number>();
  return (name) => {
    const remembered = known.get(name);
    if (remembered !== undefined) return remembered;
    // `X_Forwarded_For` and `x-forwarded-for` are one header to many servers behind.
    const lower = name.toLowerCase();
    const canonical = lower.replaceAll('_', '-');
    const isLookAlike = lower !== canonical && (rules.has(canonical) || canonical === 'content-length');
    const rule = isLookAlike
      ? DROP
      : (rules.get(canonical) ?? (prefixes.some((prefix) => canonical.startsWith(prefix)) ? DROP : PASS));
    // Callers choose names: what is remembered stays bounded.
    if (known.size < 1000 && name.length <= 64) known.set(name, rule);
    return rule;
  };
}

const requestRule = createClassifier(REQUEST_RULES, REQUEST_PREFIXES);
const responseRule = createClassifier(RESPONSE_RULES, RESPONSE_PREFIXES);

/** Headers to send upstream, and what was learnt on the way. */
export interface CleanRequestHeaders {
  /** Flat list; ends with `Authorization` and an empty placeholder. */
  readonly headers: string[];
  readonly hadAuthorization: boolean;
  /** The caller's X-Gateway-Instance, for loop detection only. */
  readonly instances: string | null;
}

/**
 * Request headers for the upstream: hop-by-hop (and those `Connection` names), Host, Expect, Authorization, Cookie,
 * Proxy-*, X-Gateway-*, Forwarded and X-Forwarded-* removed in any spelling; then `own` set, each replacing the
 * caller's.
 */
export function cleanRequestHeaders(raw: readonly string[], own: OwnHeaders): CleanRequestHeaders {
  const headers: string[] = [];
  let hadAuthorization = false;
  let instances: string | null = null;
  let connection: string | null = null;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    const rule = requestRule(name);
    if (rule === PASS) {
      if (!isOwnHeader(name, own)) headers.push(name, value);
    } else if (rule === CONNECTION) connection = connection === null ? value : `${connection},${value}`;
    else if (rule === AUTHORIZATION) hadAuthorization = true;
    else if (rule === INSTANCE) instances = instances === null ? value : `${instances},${value}`;
  }
  const passed = connection === null ? headers : withoutNamed(headers, connection);
  for (const [name, value] of own.pairs) passed.push(name, value);
  passed.push('Authorization', '');
  return { headers: passed, hadAuthorization, instances };
}

/** Headers the gateway sets on every forwarded call. Built once from `[upstream.headers]`. */
export interface OwnHeaders {
  readonly pairs: readonly (readonly [string, string])[];
  /** In lower case, with hyphens. */
  readonly names: ReadonlySet<string>;
}

/** The headers of `[upstream.headers]`, ready to be set on each call. */
export function createOwnHeaders(pairs: readonly (readonly [string, string])[]): OwnHeaders {
  return { pairs, names: new Set(pairs.map(([name]) => canonicalName(name))) };
}

/** A flat list of the caller's lines with ours in the place of theirs. */
export function setOwnHeaders(flat: readonly string[], own: OwnHeaders): string[] {
  const kept = flat.filter((_, at) => !isOwnHeader(flat[at - (at % 2)] as string, own));
  return [...kept, ...own.pairs.flat()];
}

function isOwnHeader(name: string, { names }: OwnHeaders): boolean {
  return names.size > 0 && names.has(canonicalName(name));
}

/** The form in which names are compared: `Genesys_App` and `genesys-app` are one header to many servers behind. */
function canonicalName(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}

/** Response headers for the caller, and the platform's correlation id. */
export interface CleanResponseHeaders {
  readonly headers: string[];
  readonly correlationId: string | null;
}

/**
 * Response headers for the caller: hop-by-hop, Set-Cookie, Strict-Transport-Security (it would pin all of localhost),
 * Alt-Svc, Access-Control-*, X-Gateway-* and what else speaks to a browser about our whole address removed;
 * `rewriteLocation` sees each Location. The order and casing of the rest stay. A response that a browser would render
 * or run, or take the fields of for one that it keeps, is put into a sandbox.
 */
export function cleanResponseHeaders(
  raw: readonly Buffer[],
  statusCode: number,
  rewriteLocation: (location: string) => string,
): CleanResponseHeaders {
  const headers: string[] = [];
  let contentType: string | null = null;
  let isEmpty = statusCode < 200 || statusCode === 204 || statusCode === 304;
  let correlationId: string | null = null;
  let connection: string | null = null;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] as Buffer).toString('latin1');
    const rule = responseRule(name);
    if (rule === DROP) continue;
    const value = (raw[i + 1] as Buffer).toString('latin1');
    if (rule === CONNECTION) {
      connection = connection === null ? value : `${connection},${value}`;
      continue;
    }
    if (rule === CORRELATION) correlationId = value;
    else if (rule === CONTENT_TYPE) contentType = contentType === null ? value : `${contentType},${value}`;
    else if (rule === CONTENT_LENGTH) isEmpty ||= value === '0';
    else if (rule === CHALLENGE && PROMPTING.test(value)) continue;
    headers.push(name, rule === LOCATION ? rewriteLocation(value) : value);
  }
  const passed = connection === null ? headers : withoutNamed(headers, connection);
  // A type that Connection named has gone with its line.
  if (passed.length < headers.length && !passed.some((name, at) => at % 2 === 0 && responseRule(name) === CONTENT_TYPE))
    contentType = null;
  if (REVISING.has(statusCode) || (contentType === null ? !isEmpty : isRendered(contentType))) putIntoSandbox(passed);
  return { headers: passed, correlationId };
}

/**
 * Not Modified and Partial Content: they update the header fields of a response that the browser has stored (RFC 9111,
 * sections 3.4 and 4.3.4). That may be an old page, whatever type they name, so they always carry the sandbox policy.
 */
const REVISING: ReadonlySet<number> = new Set([304, 206]);

/**
 * Schemes for which browsers ask a person, and then send the credentials along with whatever page asks. What is sent
 * here does not reach the upstream.
 */
const PROMPTING = /(?:^|[,\s])(?:basic|digest|negotiate|ntlm)(?:[,\s]|$)/i;

/** One media type with its parameters (RFC 9110, section 8.3.1). A comma, quoted or not, may be the seam of two. */
const MEDIA_TYPE = /^[\t ]*([\w!#$&^.+-]+\/[\w!#$&^.+-]+)[\t ]*(?:;[^,]*)?$/;

/**
 * Types that browsers render as a document or run as a script, and those that make them guess (MIME Sniffing standard,
 * sections 4.6 and 7): scripts of all names and versions there were, messages and multiparts, whose parts have types of
 * their own.
 */
const RENDERED = new RegExp(
  `^(?:${[
    'text/(?:html|xml|xsl)',
    'application/(?:xml|xslt)',
    '.*\\+xml',
    'text/xml-.*',
    'application/xml-.*',
    '(?:text|application)/(?:x-)?(?:java|ecma|j|live)script[\\d.]*',
    'multipart/.*',
    'message/.*',
    'unknown/unknown',
    'application/(?:x-)?unknown.*',
  ].join('|')})$`,
  'i',
);

/** Whether a browser would render or run a body of that Content-Type; what cannot be read as one type, it guesses. */
function isRendered(contentType: string): boolean {
  const type = MEDIA_TYPE.exec(contentType)?.[1];
  return type === undefined || RENDERED.test(type);
}

/**
 * Makes what a browser renders a document of no origin, without scripts, forms and popups. Of several policies the last
 * one with `sandbox` counts.
 */
function putIntoSandbox(headers: string[]): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (responseRule(headers[i] as string) === TYPE_OPTIONS) headers.splice(i, 2);
  }
  headers.push('Content-Security-Policy', 'sandbox', 'X-Content-Type-Options', 'nosniff');
}

/** Removes the headers that a Connection header names. `close` and `keep-alive` name none. */
function withoutNamed(headers: string[], connection: string): string[] {
  const trimmed = connection.trim().toLowerCase();
  if (trimmed === 'keep-alive' || trimmed === 'close' || trimmed === '') return headers;
  const named = new Set(trimmed.split(',').map((name) => name.trim()));
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!named.has(name.toLowerCase())) kept.push(name, headers[i + 1] as string);
  }
  return kept;
}

/**
 * The start of a rewritten Location: empty, so that it is right for every host name; the whole `server.public_url` where
 * an ingress removes a path, since that path alone would be wrong for callers who do not come through the ingress.
 */
export function redirectBase(publicUrl: string | null): string {
  return publicUrl === null || new URL(publicUrl).pathname === '/' ? '' : publicUrl.replace(/\/+$/, '');
}

/**
 * Rewrites a Location to the upstream's API base so that it leads back through `prefix` here; any other Location
 * passes.
 */
export function rewriteLocation(location: string, base: UrlBase, prefix: string): string {
  const { origin, pathPrefix } = base;
  if (location.startsWith('/') && !location.startsWith('//')) {
    const path = withoutPrefix(location, pathPrefix);
    return path === null ? location : prefix + path;
  }
  let url: URL;
  try {
    url = new URL(location.startsWith('//') ? new URL(origin).protocol + location : location);
  } catch {
    // A relative or broken Location is left to the caller, who resolves it against our address.
    return location;
  }
  if (url.origin !== origin || url.username !== '' || url.password !== '') return location;
  // Cut, not re-serialised: URL would normalise what the upstream wrote.
  const authority = AUTHORITY.exec(location)?.[0];
  if (authority === undefined) return location;
  const rest = location.slice(authority.length);
  const path = withoutPrefix(rest.startsWith('/') ? rest : `/${rest}`, pathPrefix);
  // Standing alone, `//host/path` names another host; so does what a browser reads as that.
  return path === null || /^\/\t*[\\/]/.test(path) ? location : prefix + path;
}

const AUTHORITY = /^(?:https?:)?\/\/[^/?#\\]+/i;

function withoutPrefix(path: string, pathPrefix: string): string | null {
  if (pathPrefix === '') return path;
  if (!path.startsWith(pathPrefix)) return null;
  const rest = path.slice(pathPrefix.length);
  return rest === '' || /^[/?#]/.test(rest) ? rest : null;
}
