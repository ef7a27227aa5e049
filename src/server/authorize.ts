// Authorizes a call: which credential serves its caller, and whether the client's rules permit it. The path and method
// that are sent count; a request that asks to be taken for another is refused where that matters.

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type Access, createRules, type Rules, type Verdict } from '../auth/callers/access.ts';
import type { Caller } from '../auth/callers/caller.ts';
import type { TokenPool } from '../auth/credentials/token-pool.ts';
import type { TokenSource } from '../auth/credentials/token-source.ts';
import type { ClientConfig, CredentialConfig } from '../config/gateway-config.ts';
import type { ServerConfig } from '../config/sections/server.ts';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import { UNLISTED } from '../operations/table.ts';
import { sessionLimitKey } from '../upstream/call.ts';
import type { Route } from './request-target.ts';

/** A credential as the data path sees it. */
export interface ForwardCredential {
  readonly config: CredentialConfig;
  readonly source: TokenSource;
  /** Null or absent where it has one token only. */
  readonly pool?: TokenPool | null;
  /** Whose limits it counts against, where that is not the credential as a whole. */
  readonly limitKey?: string;
}

/** The credentials of a configuration, and which of them a caller may use. */
export interface CredentialChoice {
  readonly credentials: { get(name: string): ForwardCredential | undefined };
  readonly access: Pick<Access, 'defaultFor' | 'mayUse' | 'usableBy'>;
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
    if (owner.credential !== null && !access.mayUse(caller, owner.credential))
      throw notListed(owner.credential, caller, { access });
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
  if (!access.mayUse(caller, name)) throw notListed(name, caller, { access });
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

/** The error for a credential that the caller may not use: says which setting would let it. */
export function notListed(name: string, caller: Caller, { access }: Pick<CredentialChoice, 'access'>): GatewayError {
  const { client } = caller;
  const listed = [...access.usableBy(caller), name].join(', ');
  const advice =
    client === null
      ? `set server.anonymous_credentials = ${listed}, or give the caller a [client.NAME] with credential = ${name}`
      : `set client.${client.name}.credential = ${listed}`;
  return new GatewayError(
    'gateway.client.forbidden',
    `the credential ${name} is not listed for this caller: ${advice}`,
  );
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
  /** For the log and for messages. */
  readonly operation: string | null;
}

/** What decides which calls may be made: the clients, and what `[server]` says of all others. */
export interface RuleSettings {
  readonly clients: readonly ClientConfig[];
  readonly server: Pick<ServerConfig, 'anonymousAllow' | 'anonymousDeny' | 'readOnly'>;
}

/** What holds a call to be read-only, whoever makes it. */
const READ_ONLY = { allow: ['@read-only'], deny: [] };

/** The rules of one configuration: of its clients, of callers who are no client, and of everybody. */
export class ClientRules {
  readonly #ofClients = new Map<string, Rules>();
  readonly #ofAnonymous: Rules | null;
  /** Null where changes are allowed. */
  readonly #readOnly: Rules | null;
  readonly #log: Pick<Log, 'warn'>;

  constructor({ clients, server }: RuleSettings, log: Pick<Log, 'warn'>) {
    this.#log = log;
    this.#ofAnonymous = createRules({ allow: server.anonymousAllow, deny: server.anonymousDeny });
    this.#readOnly = server.readOnly ? createRules(READ_ONLY) : null;
    for (const client of clients) {
      const rules = createRules(client);
      if (rules !== null) this.#ofClients.set(client.name, rules);
    }
  }

  /**
   * Throws gateway.client.forbidden for a call that the rules of its caller do not permit, null being a caller who is no
   * client; with mode `report` it only logs, with the request id, what it would have refused. `server.read_only` holds
   * for everybody, also where the mode is `report`.
   */
  assertPermitted(client: ClientConfig | null, call: JudgedCall): void {
    const { record, method, operation } = call;
    if (this.#readOnly !== null && verdictOf(this.#readOnly, call) !== null) {
      if (record !== null) record.rule = 'server.read_only';
      throw new GatewayError('gateway.client.forbidden', READ_ONLY_MESSAGE);
    }
    const rules = client === null ? this.#ofAnonymous : (this.#ofClients.get(client.name) ?? null);
    const verdict = rules === null ? null : verdictOf(rules, call);
    if (verdict === null) return;
    const rule = verdict.reason === 'denied' ? verdict.rule : null;
    if (record !== null) record.rule = ruleInRecord(client, verdict);
    if (client?.mode !== 'report')
      throw new GatewayError('gateway.client.forbidden', messageOf(client, verdict, operation));
    const { reason } = verdict;
    const requestId = record?.requestId;
    this.#log.warn({ requestId, client: client.name, method, operation, reason, rule }, 'rule would refuse');
  }

  /** The rule that allows a call, for explanations; null where nothing needs to. */
  allowedBy(client: ClientConfig | null, { method, target }: Pick<JudgedCall, 'method' | 'target'>): string | null {
    const rules = client === null ? this.#ofAnonymous : this.#ofClients.get(client.name);
    return rules?.allowedBy(method, target) ?? null;
  }
}

/** What a record says of the rule, or the list, that refused. */
function ruleInRecord(client: ClientConfig | null, verdict: NonNullable<Verdict>): string {
  const keys = client === null ? 'server.anonymous_' : '';
  switch (verdict.reason) {
    case 'denied':
      return `${keys}deny[] = ${verdict.rule}`;
    case 'unlisted':
      return `${keys}allow[]: not listed`;
    case 'ambiguous':
      return `${keys}allow[], ${keys}deny[]: the call can be read in more than one way`;
  }
}

function verdictOf(rules: Rules, { method, target, headers }: JudgedCall): Verdict {
  const isTwoCalls = asksForOtherMethod(headers, target) || otherPathAsked(headers) !== null;
  return isTwoCalls ? { reason: 'ambiguous' } : rules.judge(method, target);
}

const READ_ONLY_MESSAGE =
  'this gateway is read-only, so this call is refused: server.read_only = true, or the flag --read-only, says so';

function messageOf(client: ClientConfig | null, verdict: NonNullable<Verdict>, operation: string | null): string {
  const owner = client === null ? 'for callers who are no client' : `of client ${client.name}`;
  const keys = client === null ? 'server.anonymous_' : '';
  switch (verdict.reason) {
    case 'denied':
      return `the rules ${owner} deny this call (${keys === '' ? '' : `${keys}deny: `}${verdict.rule})`;
    case 'unlisted':
      return `the rules ${owner} do not list this call (${operationWords(operation)}): add it to ${keys}allow[] if it may be made`;
    case 'ambiguous':
      return `there are rules ${owner}, and this path or method can be read in more than one way: send it plainly`;
  }
}

/** A call by the name that rules may use; what has none can only be named by its path. */
export function operationWords(operation: string | null): string {
  return operation === null || operation === UNLISTED ? 'no known operation, so name it by its path' : operation;
}

const METHOD_HEADERS = new Set(['x-http-method-override', 'x-http-method', 'x-method-override']);
const FIELD = '_method';

/**
 * Of IIS, Symfony, Zend and others like them. What proxies only tell, and nobody acts on (`X-Envoy-Original-Path`), is
 * not among them.
 */
const PATH_HEADERS = new Set(
  ['url', 'uri', 'path'].flatMap((what) => ['original', 'rewrite', 'override'].map((how) => `x-${how}-${what}`)),
);

/**
 * `target` with its query. To many servers `X_HTTP_Method_Override` is the same header, and to some `;` parts a query as
 * `&` does.
 */
export function asksForOtherMethod(headers: IncomingHttpHeaders, target: string): boolean {
  for (const name in headers) if (name.startsWith('x') && METHOD_HEADERS.has(name.replaceAll('_', '-'))) return true;
  const queryAt = target.indexOf('?');
  if (queryAt < 0) return false;
  const query = new URLSearchParams(target.slice(queryAt).replaceAll(';', '&'));
  for (const name of query.keys()) if (name.toLowerCase() === FIELD) return true;
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
