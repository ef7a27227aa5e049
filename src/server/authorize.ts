// Authorizes a call: which credential serves its caller, and whether the client's rules permit it. The path and method
// that are sent count; a request that asks to be taken for another is refused where that matters.

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type Access, createRules, type Rules, type Verdict } from '../auth/callers/access.ts';
import type { Caller } from '../auth/callers/caller.ts';
import type { TokenSource } from '../auth/credentials/token-source.ts';
import type { ClientConfig, CredentialConfig } from '../config/gateway-config.ts';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import { sessionLimitKey } from '../upstream/call.ts';
import type { Route } from './request-target.ts';

/** A credential as the data path sees it. */
export interface ForwardCredential {
  readonly config: CredentialConfig;
  readonly source: TokenSource;
  /** Whose limits it counts against, where that is not the credential as a whole. */
  readonly limitKey?: string;
}

/** The credentials of a configuration, and which of them a caller may use. */
export interface CredentialChoice {
  readonly credentials: { get(name: string): ForwardCredential | undefined };
  readonly access: Pick<Access, 'defaultFor' | 'mayUse'>;
  readonly config: { readonly credentials: readonly Pick<CredentialConfig, 'name'>[] };
}

/**
 * The credential for a caller who named one, or none. Throws gateway.credential.unknown or gateway.client.forbidden.
 */
export function chooseCredential(
  caller: Caller,
  named: string | null,
  { credentials, access, config }: CredentialChoice,
): ForwardCredential {
  const asked = boundTo(caller, named);
  if (caller.session !== null) {
    const { owner, source } = caller.session;
    if (owner.credential !== null && !access.mayUse(caller, owner.credential)) throw notListed(owner.credential);
    const own = caller.session.config();
    // The platform limits tokens, and this one has its own: other sessions of the same application are not held up with
    // it.
    return { config: own, source, limitKey: sessionLimitKey(own.name, caller.session.id) };
  }
  const name = asked ?? access.defaultFor(caller);
  if (name === null) {
    const names = config.credentials.map((one) => one.name).filter((one) => access.mayUse(caller, one));
    const advice =
      names.length === 0 ? 'list one for this caller' : `call /NAME/api/v2/… with one of ${names.join(', ')}`;
    throw new GatewayError(
      'gateway.credential.unknown',
      `no credential is the default: ${advice}, or mark one with default = true`,
    );
  }
  const credential = credentials.get(name);
  if (!credential) throw unknownCredential();
  if (!access.mayUse(caller, name)) throw notListed(name);
  return credential;
}

/** The credential a handle is bound to, which a path or header may repeat but not change. */
function boundTo({ handle, session }: Caller, named: string | null): string | null {
  const bound = session === null ? (handle?.credential ?? null) : session.owner.credential;
  if (named !== null && (session !== null || bound !== null) && named !== bound) {
    throw new GatewayError(
      'gateway.client.forbidden',
      `this handle is not for the credential ${named}: log in by /${named}/oauth/token for one that is`,
    );
  }
  return named ?? bound;
}

/** The error for a name that no credential has. */
export function unknownCredential(): GatewayError {
  return new GatewayError(
    'gateway.credential.unknown',
    'no credential of that name is configured: `gcg config` lists them',
  );
}

/** The error for a credential that the caller may not use. */
export function notListed(name: string): GatewayError {
  return new GatewayError('gateway.client.forbidden', `the credential ${name} is not listed for this caller`);
}

/**
 * The credential that the path or X-Gateway-Credential names, or null. Throws gateway.request.invalid when they are at
 * odds.
 */
export function namedCredential({
  route,
  request,
}: {
  readonly route: Route;
  readonly request: Pick<IncomingMessage, 'headers'>;
}): string | null {
  const fromPath = route.credential;
  const header = request.headers['x-gateway-credential'];
  if (header === undefined) return fromPath;
  if (typeof header !== 'string' || header.includes(','))
    throw new GatewayError('gateway.request.invalid', 'there is more than one X-Gateway-Credential');
  if (fromPath !== null && fromPath !== header) {
    throw new GatewayError(
      'gateway.request.invalid',
      'the path and X-Gateway-Credential name different credentials: send one of them',
    );
  }
  return header;
}

/** A call that rules are asked about; its record, where it has one, is told the rule that decides. */
export interface JudgedCall {
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly record: Pick<ExchangeRecord, 'requestId' | 'rule'> | null;
}

/** The rules of the clients of one configuration. */
export class ClientRules {
  readonly #rules = new Map<string, Rules>();
  readonly #log: Log;

  constructor(clients: readonly ClientConfig[], log: Log) {
    this.#log = log;
    for (const client of clients) {
      const rules = createRules(client);
      if (rules !== null) this.#rules.set(client.name, rules);
    }
  }

  /**
   * Throws gateway.client.forbidden for a call that its client's rules do not permit; in mode `report` it only logs,
   * with the request id, what it would have refused.
   */
  assertPermitted(client: ClientConfig | null, { method, target, headers, record }: JudgedCall): void {
    const rules = client === null ? undefined : this.#rules.get(client.name);
    if (client === null || rules === undefined) return;
    const isTwoCalls = asksForOtherMethod(headers, target) || otherPathAsked(headers) !== null;
    const verdict: Verdict = isTwoCalls ? { reason: 'ambiguous' } : rules.judge(method, target);
    if (verdict === null) return;
    const rule = verdict.reason === 'denied' ? verdict.rule : null;
    if (record !== null) record.rule = rule === null ? NO_RULE[verdict.reason as 'unlisted'] : `deny[] = ${rule}`;
    if (client.mode !== 'report')
      throw new GatewayError('gateway.client.forbidden', MESSAGES[verdict.reason](client.name, rule));
    const requestId = record?.requestId;
    this.#log.warn({ requestId, client: client.name, method, reason: verdict.reason, rule }, 'rule would refuse');
  }
}

/** What a record says where no single rule refused. */
const NO_RULE: Record<'unlisted' | 'ambiguous', string> = {
  unlisted: 'allow[]: not listed',
  ambiguous: 'allow[], deny[]: the call can be read in more than one way',
};

const MESSAGES: Record<NonNullable<Verdict>['reason'], (client: string, rule: string | null) => string> = {
  denied: (client, rule) => `the rules of client ${client} deny this call (${rule})`,
  unlisted: (client) => `the rules of client ${client} do not list this call: add it to allow[] if it may be made`,
  ambiguous: (client) =>
    `client ${client} has rules, and this path or method can be read in more than one way: send it plainly`,
};

const METHOD_HEADERS = new Set(['x-http-method-override', 'x-http-method', 'x-method-override']);
const FIELD = '_method';

/**
 * Of IIS, Symfony, Zend and others like them. What proxies only tell, and nobody acts on (`X-Envoy-Original-Path`), is
 * not among them.
 */
const PATH_HEADERS = new Set(
  ['url', 'uri', 'path'].flatMap((what) => ['original', 'rewrite', 'override'].map((how) => `x-${how}-${what}`)),
);

/** `target` with its query. To many servers `X_HTTP_Method_Override` is the same header. */
export function asksForOtherMethod(headers: IncomingHttpHeaders, target: string): boolean {
  for (const name in headers) if (name.startsWith('x') && METHOD_HEADERS.has(name.replaceAll('_', '-'))) return true;
  const queryAt = target.indexOf('?');
  if (queryAt < 0) return false;
  for (const name of new URLSearchParams(target.slice(queryAt)).keys()) if (name.toLowerCase() === FIELD) return true;
  return false;
}

/**
 * The path, or paths, for which a call asks to be taken in the place of its own, as they were written; almost always
 * null.
 */
export function otherPathAsked(headers: IncomingHttpHeaders): string | null {
  let asked: string | null = null;
  for (const name in headers) {
    if (name.startsWith('x') && PATH_HEADERS.has(name.replaceAll('_', '-'))) asked = `${asked ?? ''} ${headers[name]}`;
  }
  return asked;
}
