// The only file that talks to a token endpoint: sends one form, bounds and judges the answer. It does not retry, cache or store.

import type { Clock } from '../clock.ts';
import type { UpstreamHosts } from '../config/gateway-config.ts';
import type { Secret } from '../config/secret.ts';
import { isGatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import type { ClientAuth, FormFields } from './client-auth.ts';
import { withDeadline } from './deadline.ts';
import { createToken, type Token } from './token.ts';
import { judgeErrorReply } from './token-error.ts';
import { systemCode, TokenFailure, toTokenFailure } from './token-failure.ts';
import { parseTokenReply } from './token-reply.ts';

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

/** What a good answer yields. A null refresh token means: none was given, keep the one at hand. */
export interface TokenGrant {
  readonly token: Token;
  readonly refreshToken: Secret | null;
}

/** Sends one call; throws TokenFailure. */
export type TokenEndpoint = (call: TokenCall) => Promise<TokenGrant>;

/** What became of one token request, for metrics. */
export interface TokenRequestOutcome {
  readonly credential: string;
  readonly grant: string;
  readonly result: 'success' | 'transient' | 'refused' | 'login_required';
  readonly durationMs: number;
}

/** `timeoutMs` bounds one call, also when the transport never settles. Each call writes one record, without bodies. */
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
    const { credential, grant } = call;
    const url = tokenUrl(call.hosts);
    const startedMs = clock.monotonic();
    let statusCode: number | undefined;
    const report = (result: TokenRequestOutcome['result'], fields: object, write: Log['info']) => {
      const durationMs = Math.round(clock.monotonic() - startedMs);
      write({ credential, grant, url, status: statusCode, durationMs, result, ...fields }, 'token request');
      onTokenRequest?.({ credential, grant, result, durationMs });
    };
    try {
      const reply = await send(call, url);
      statusCode = reply.statusCode;
      const granted = judge(call, reply, clock.monotonic() - startedMs);
      report('success', { tokenFingerprint: granted.token.fingerprint }, log.info.bind(log));
      return granted;
    } catch (thrown) {
      const failure = toTokenFailure(thrown);
      const fields = { errorCode: failure.error.code, error: failure.message, retryAfterMs: failure.retryAfterMs };
      report(failure.kind, fields, log.warn.bind(log));
      throw failure;
    }
  };

  async function send(call: TokenCall, url: string) {
    for (const [name, value] of [...call.form, ...call.auth.formFields]) if (SECRET_FIELDS.has(name)) onSecret?.(value, 'sent');
    const body = new URLSearchParams([...call.form, ...call.auth.formFields].map(([name, value]): [string, string] => [name, value])).toString();
    const headers = [...FIXED_HEADERS, ...call.auth.headers];
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

  function judge(call: TokenCall, reply: Awaited<ReturnType<TokenTransport>>, elapsedMs: number): TokenGrant {
    const { statusCode, headers, body } = reply;
    if (statusCode < 200 || statusCode > 299) throw judgeErrorReply(call, reply, clock.now());
    const refuse = (what: string) =>
      new TokenFailure('transient', `the token endpoint answered ${statusCode} with ${what}: is that ${tokenUrl(call.hosts)}?`);
    if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity') throw refuse('a compressed body that was not asked for');
    if (body.length > LARGEST_REPLY_BYTES) throw refuse('a body that is too large');
    const parsed = parseTokenReply(body);
    if ('problem' in parsed) throw refuse(parsed.problem);
    onSecret?.(parsed.accessToken.reveal(), 'received');
    if (parsed.refreshToken !== null) onSecret?.(parsed.refreshToken.reveal(), 'received');
    // The life counts from when the request was sent: the endpoint began to count no earlier, and perhaps long before the answer came.
    const obtainedAt = clock.now();
    const token = createToken({ accessToken: parsed.accessToken, obtainedAt, expiresAt: obtainedAt - elapsedMs + parsed.lifeMs });
    return { token, refreshToken: parsed.refreshToken };
  }
}

/** A posted assertion, the answer of a command, an application's own secret: no configuration has told them. */
const SECRET_FIELDS = new Set(['assertion', 'refresh_token', 'client_secret', 'code', 'code_verifier']);

const FIXED_HEADERS = [
  ...['content-type', 'application/x-www-form-urlencoded'],
  ...['accept', 'application/json'],
  ...['accept-encoding', 'identity'],
];

/** Where tokens of these hosts are asked for. */
function tokenUrl(hosts: UpstreamHosts): string {
  return `${hosts.login.origin}${hosts.login.pathPrefix}/oauth/token`;
}

function networkFailure(thrown: unknown, host: string): TokenFailure {
  if (!isGatewayError(thrown)) return new TokenFailure('transient', `the token endpoint ${host} cannot be reached (${systemCode(thrown)})`);
  const { retryAfterMs } = thrown;
  if (thrown.code === 'gateway.upstream.tls') {
    const advice = 'if a corporate proxy inspects TLS, put its CA into tls.ca_file';
    return new TokenFailure('transient', `the certificate of the token endpoint ${host} is not trusted: ${advice}`, { retryAfterMs });
  }
  return new TokenFailure('transient', `the token endpoint ${host} cannot be reached: ${thrown.message}`, { retryAfterMs });
}
