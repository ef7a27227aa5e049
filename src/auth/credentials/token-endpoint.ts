// The one file that talks to a token endpoint (RFC 6749 section 3.2): builds the request, authenticates the client,
// maps the errors. What a reply says is read elsewhere. Keeps no token, and puts no body into a message.

import { type Clock, withDeadline } from '../../clock.ts';
import type { UpstreamHosts } from '../../config/gateway-config.ts';
import { isGatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { parseRetryAfter } from '../../retry-after.ts';
import {
  fetchSecret,
  hasOuterBlanks,
  looksLikeClientId,
  looksSwapped,
  type Secret,
  type SecretSource,
} from '../../secret.ts';
import { parseTokenError, parseTokenReply, type TokenErrorReply } from './token-reply.ts';
import {
  createToken,
  type OAuthErrorCode,
  systemCode,
  type Token,
  TokenFailure,
  toTokenFailure,
} from './token-source.ts';

/** Upper bound of a token endpoint's answer. */
const LARGEST_REPLY_BYTES = 64 * 1024;

/**
 * One POST over the network. Rejects with a GatewayError (`gateway.upstream.*`, `gateway.proxy.*`) or any Error.
 * `headers` are flat name, value pairs. The answer's header names are in lower case.
 */
export type TokenTransport = (request: {
  url: string;
  headers: readonly string[];
  body: string;
  timeoutMs: number;
  maxBodyBytes: number;
}) => Promise<{ statusCode: number; headers: Record<string, string | undefined>; body: Buffer }>;

/** One request for a token. `credential` and `grant` name it in records. */
export interface TokenCall {
  readonly credential: string;
  readonly grant: string;
  readonly hosts: UpstreamHosts;
  readonly auth: ClientAuth;
  readonly form: FormFields;
}

/** What a good response yields. A null refresh token means that none was given: keep the existing one. */
export interface TokenGrant {
  readonly token: Token;
  readonly refreshToken: Secret | null;
}

/**
 * Sends one request for a token. Throws TokenFailure; GatewayError when the client's secret cannot be had, before
 * anything is sent.
 */
export type TokenEndpoint = (call: TokenCall) => Promise<TokenGrant>;

/** How one token request ended, for metrics and spans. */
export interface TokenRequestOutcome {
  readonly credential: string;
  readonly grant: string;
  readonly result: 'success' | 'transient' | 'refused' | 'login_required';
  readonly durationMs: number;
  /** Monotonic ms. */
  readonly startedAt: number;
  readonly url: string;
  /** Absent where there was no answer. */
  readonly statusCode: number | undefined;
  readonly errorCode?: string;
  /** Of the token that came. */
  readonly tokenFingerprint?: string;
}

/** What is told of how a token request ended, besides. */
interface EndFields extends Pick<TokenRequestOutcome, 'errorCode' | 'tokenFingerprint'> {
  readonly error?: string;
  readonly retryAfterMs?: number | undefined;
}

/**
 * Makes the endpoint. `timeoutMs` bounds one request, whatever the transport does. Each request writes one log record. A
 * client secret that is refused, and that a command printed, is asked for anew; a new one is tried at once.
 */
export function createTokenEndpoint(deps: {
  transport: TokenTransport;
  clock: Clock;
  timeoutMs: number;
  log: Log;
  onTokenRequest?: ((outcome: TokenRequestOutcome) => void) | undefined;
  /** Told each secret that is sent in a form, and each token of an answer. */
  onSecret?: ((value: string, origin: 'received' | 'sent') => void) | undefined;
}): TokenEndpoint {
  const { transport, clock, timeoutMs, log, onTokenRequest, onSecret } = deps;
  return async (call) => {
    const { auth } = call;
    if (auth.kind === 'public') return request(call, null);
    const secret = await fetchSecret(auth.secret);
    try {
      return await request(call, secret);
    } catch (thrown) {
      const isRefused = thrown instanceof TokenFailure && thrown.oauthError === 'invalid_client';
      const another = isRefused ? await anotherSecret(auth.secret, secret) : null;
      if (another === null) throw thrown;
      return request(call, another);
    }
  };

  async function request(call: TokenCall, secret: Secret | null): Promise<TokenGrant> {
    const { credential, grant } = call;
    const url = tokenUrl(call.hosts);
    const startedMs = clock.monotonic();
    let statusCode: number | undefined;
    const report = (result: TokenRequestOutcome['result'], fields: EndFields, write: Log['info']) => {
      const durationMs = Math.round(clock.monotonic() - startedMs);
      write({ credential, grant, url, status: statusCode, durationMs, result, ...fields }, 'token request');
      onTokenRequest?.({ credential, grant, url, statusCode, startedAt: startedMs, durationMs, result, ...fields });
    };
    try {
      const reply = await send(call, secret, url);
      statusCode = reply.statusCode;
      const granted = judge(call, secret, reply, clock.monotonic() - startedMs);
      report('success', { tokenFingerprint: granted.token.fingerprint }, log.debug.bind(log));
      return granted;
    } catch (thrown) {
      const failure = toTokenFailure(thrown);
      const fields = { errorCode: failure.error.code, error: failure.message, retryAfterMs: failure.retryAfterMs };
      report(failure.kind, fields, log.warn.bind(log));
      throw failure;
    }
  }

  async function send({ auth, form }: TokenCall, secret: Secret | null, url: string) {
    const isBasic = auth.kind === 'basic' && secret !== null;
    const fields = auth.kind === 'public' ? [...form, ...auth.formFields] : form;
    for (const [name, value] of fields) if (SECRET_FIELDS.has(name)) onSecret?.(value, 'sent');
    const body = new URLSearchParams(fields.map(([name, value]): [string, string] => [name, value])).toString();
    const headers = [...FIXED_HEADERS, ...(isBasic ? ['authorization', basicHeader(auth.clientId, secret)] : [])];
    const host = new URL(url).host;
    try {
      return await withDeadline(
        clock,
        timeoutMs,
        () => new TokenFailure('transient', `the token endpoint ${host} did not answer within ${timeoutMs / 1000} s`),
        transport({ url, headers, body, timeoutMs, maxBodyBytes: LARGEST_REPLY_BYTES }),
      );
    } catch (thrown) {
      throw thrown instanceof TokenFailure ? thrown : networkFailure(thrown, host);
    }
  }

  function judge(
    call: TokenCall,
    secret: Secret | null,
    reply: Awaited<ReturnType<TokenTransport>>,
    elapsedMs: number,
  ): TokenGrant {
    const { statusCode, headers, body } = reply;
    if (statusCode < 200 || statusCode > 299) throw judgeErrorReply(call, secret, reply, clock.now());
    const refuse = (what: string) =>
      new TokenFailure(
        'transient',
        `the token endpoint answered ${statusCode} with ${what}: is that ${tokenUrl(call.hosts)}?`,
      );
    if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity')
      throw refuse('a compressed body that was not asked for');
    if (body.length > LARGEST_REPLY_BYTES) throw refuse('a body that is too large');
    const parsed = parseTokenReply(body);
    if ('problem' in parsed) throw refuse(parsed.problem);
    onSecret?.(parsed.accessToken.reveal(), 'received');
    if (parsed.refreshToken !== null) onSecret?.(parsed.refreshToken.reveal(), 'received');
    // The life counts from when the request was sent: the endpoint began to count no earlier, and perhaps long before
    // its response arrived.
    const obtainedAt = clock.now();
    const token = createToken({
      accessToken: parsed.accessToken,
      obtainedAt,
      expiresAt: obtainedAt - elapsedMs + parsed.lifeMs,
    });
    return { token, refreshToken: parsed.refreshToken };
  }
}

/** Another secret than the one that was refused; null when the source keeps none, has no other, or cannot be asked. */
async function anotherSecret(source: SecretSource, refused: Secret): Promise<Secret | null> {
  const now = await source.refetch?.().catch(() => null);
  return now == null || now.reveal() === refused.reveal() ? null : now;
}

/**
 * Form fields whose values may be unknown to the configuration: posted or printed assertions, applications' secrets.
 */
const SECRET_FIELDS = new Set(['assertion', 'refresh_token', 'client_secret', 'code', 'code_verifier']);

const FIXED_HEADERS = Object.entries({
  'content-type': 'application/x-www-form-urlencoded',
  accept: 'application/json',
  'accept-encoding': 'identity',
}).flat();

/** The URL of the token endpoint. */
function tokenUrl(hosts: UpstreamHosts): string {
  return `${hosts.login.origin}${hosts.login.pathPrefix}/oauth/token`;
}

function networkFailure(thrown: unknown, host: string): TokenFailure {
  if (!isGatewayError(thrown))
    return new TokenFailure('transient', `the token endpoint ${host} cannot be reached (${systemCode(thrown)})`);
  const { retryAfterMs } = thrown;
  return new TokenFailure('transient', `the token endpoint ${host} cannot be reached: ${thrown.message}`, {
    retryAfterMs,
  });
}

/**
 * Client authentication: `basic` shows a secret, as HTTP Basic; a `public` client only says its id, as fields of the
 * form that follow the grant's own.
 */
export type ClientAuth =
  | { readonly kind: 'basic'; readonly clientId: string; readonly secret: SecretSource }
  | { readonly kind: 'public'; readonly formFields: FormFields };

/** Form fields in wire order. */
export type FormFields = readonly (readonly [name: string, value: string])[];

/** A client with a secret. It is read, or asked for, when a request is sent. */
export function basicAuth(clientId: string, secret: SecretSource): ClientAuth {
  return { kind: 'basic', clientId, secret };
}

/**
 * The header of HTTP Basic with the raw id and secret in UTF-8, as the platform and its SDKs do: RFC 6749 section 2.3.1
 * would percent-encode both first.
 */
export function basicHeader(clientId: string, secret: Secret): string {
  return `Basic ${Buffer.from(`${clientId}:${secret.reveal()}`, 'utf8').toString('base64')}`;
}

/** A public client: its id is sent in the form, for grants that do not put it there themselves. */
export function publicClientAuth(clientId: string): ClientAuth {
  return { kind: 'public', formFields: [['client_id', clientId]] };
}

/** A client that is named by nothing but the grant's own fields. */
export const NO_CLIENT_AUTH: ClientAuth = { kind: 'public', formFields: [] };

interface ErrorReply {
  readonly statusCode: number;
  readonly headers: Record<string, string | undefined>;
  readonly body: Buffer;
}

/** What nginx, Go, Apache and this gateway say to plain http at an address for TLS. */
const WANTS_TLS = new RegExp(
  [
    'plain HTTP request was sent to HTTPS port',
    'HTTP request to an HTTPS server',
    'plain HTTP to an SSL',
    'speaks TLS, and the request came as plain http',
  ].join('|'),
);

/** The failure that a response outside 200–299 means. `secret` is the one that was shown: nothing of it is told. */
export function judgeErrorReply(
  call: { grant: string; hosts: UpstreamHosts; auth: ClientAuth },
  secret: Secret | null,
  reply: ErrorReply,
  nowMs: number,
): TokenFailure {
  const { statusCode, headers } = reply;
  const parsed = parseTokenError(reply.body);
  const host = new URL(call.hosts.login.origin).host;
  const transient = (message: string) =>
    new TokenFailure('transient', message, {
      retryAfterMs: parseRetryAfter(headers['retry-after'], nowMs, headers.date),
    });
  if (
    statusCode === 400 &&
    call.hosts.login.origin.startsWith('http:') &&
    WANTS_TLS.test(reply.body.toString('latin1'))
  )
    return transient(
      `the token endpoint ${host} speaks TLS, and was asked in plain http: set gateway.protocol = https`,
    );
  if (statusCode === 429 || parsed.isRateLimit)
    return transient(`the token endpoint ${host} throttles logins of this client`);
  if (statusCode >= 500 || statusCode === 408 || statusCode === 425)
    return transient(`the token endpoint ${host} answered ${statusCode}`);
  if (statusCode < 400)
    return transient(`the token endpoint ${host} answered ${statusCode}, which is not followed: is the host right?`);
  const hint = parsed.oauthError === 'invalid_client' ? secretHint(call.auth, secret, parsed) : '';
  const message = `${refusal(call, statusCode, parsed, host)}${hint}`;
  return new TokenFailure('refused', message, { oauthError: parsed.oauthError });
}

/** What looks wrong with an id and a secret that were refused, without saying anything of the secret itself. */
function secretHint(auth: ClientAuth, secret: Secret | null, { isClientUnknown }: TokenErrorReply): string {
  if (auth.kind === 'public' || secret === null) return '';
  const { origin } = auth.secret;
  if (looksSwapped(auth.clientId, secret)) return `; the client id and the secret (${origin}) look swapped`;
  if (hasOuterBlanks(secret))
    return `; the secret (${origin}) begins or ends with a blank or an empty line, which is sent as part of it`;
  return isClientUnknown && !looksLikeClientId(auth.clientId)
    ? '; the client id is not a UUID, and those of OAuth clients are'
    : '';
}

function refusal(
  call: { grant: string; hosts: UpstreamHosts },
  statusCode: number,
  parsed: TokenErrorReply,
  host: string,
): string {
  const wrongRegion = `wrong region (${call.hosts.domain})`;
  const reason = `${statusCode} invalid_request`;
  const refused = `the token endpoint ${host} refused the request with ${statusCode}`;
  if (parsed.isClientUnknown) return `client not found: wrong client id, or ${wrongRegion}`;
  const meaning: Record<OAuthErrorCode, string> = {
    invalid_client: `client authentication failed: wrong client secret, or a disabled client, or ${wrongRegion}`,
    unauthorized_client:
      `this client may not use the grant ${call.grant}: ` +
      'change the grant type of the OAuth client, or grant_type here',
    invalid_grant: 'the grant was refused: the code, assertion or refresh token is used up, expired or revoked',
    invalid_request: `the token endpoint refused the request (${reason}): check the keys of this credential`,
    other: `${refused}: check host, client id and any IP allow-list of the client`,
  };
  return meaning[parsed.oauthError];
}
