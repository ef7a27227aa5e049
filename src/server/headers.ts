// Which header lines pass the gateway, in both directions: pure functions over flat name, value lists. Strips first; what is ours is added after.

/** What the gateway does with a header name it meets. */
const DROP = 1;
const AUTHORIZATION = 2;
const CONNECTION = 3;
const LOCATION = 4;
const CORRELATION = 5;
const INSTANCE = 6;
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
    const rule = isLookAlike ? DROP : (rules.get(canonical) ?? (prefixes.some((prefix) => canonical.startsWith(prefix)) ? DROP : PASS));
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
 * Request headers for the upstream: hop-by-hop (and those `Connection` names), Host, Expect,
 * Authorization, Cookie, Proxy-*, X-Gateway-*, Forwarded and X-Forwarded-* removed in any spelling; then `own` set, each replacing the caller's.
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
      if (own.names.size === 0 || !own.names.has(name.toLowerCase())) headers.push(name, value);
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
  readonly names: ReadonlySet<string>;
}

/** Prepares `OwnHeaders`. */
export function createOwnHeaders(pairs: readonly (readonly [string, string])[]): OwnHeaders {
  return { pairs, names: new Set(pairs.map(([name]) => name.toLowerCase())) };
}

/** Answer headers for the caller, and the platform's correlation id. */
export interface CleanResponseHeaders {
  readonly headers: string[];
  readonly correlationId: string | null;
}

/**
 * Answer headers for the caller: hop-by-hop, Set-Cookie, Strict-Transport-Security (it would pin all of localhost), Alt-Svc,
 * Access-Control-* and X-Gateway-* removed; `rewriteLocation` sees each Location. The order and casing of the rest stay.
 */
export function cleanResponseHeaders(raw: readonly Buffer[], rewriteLocation: (location: string) => string): CleanResponseHeaders {
  const headers: string[] = [];
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
    headers.push(name, rule === LOCATION ? rewriteLocation(value) : value);
  }
  return { headers: connection === null ? headers : withoutNamed(headers, connection), correlationId };
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
