// Who or what a call failed by, from its line alone: cheap enough for each row of a list. The words for it, and what to
// do, are the explanations' (why.ts). Pure: the server, the page and the terminal share it.

import type { Call, Culprit } from './wire.ts';

/** Each culprit, in words for a sentence. */
export const WHO: Readonly<Record<Culprit, string>> = {
  caller: 'the caller',
  rule: 'a rule of this gateway',
  token: 'the credential or its token',
  limit: 'a rate limit',
  proxy: 'the corporate proxy',
  network: 'the network',
  platform: 'Genesys Cloud',
  gateway: 'the gateway itself',
  reader: "the caller's slow reading",
};

/** Who fails a call with each code of ours. */
export const CULPRIT_OF_CODE: Readonly<Record<string, Culprit>> = {
  'gateway.request.invalid': 'caller',
  'gateway.body.too.large': 'caller',
  'gateway.route.not.found': 'caller',
  'gateway.host.forbidden': 'caller',
  'gateway.origin.forbidden': 'caller',
  'gateway.client.unauthenticated': 'caller',
  'gateway.client.forbidden': 'rule',
  'gateway.session.ended': 'caller',
  'gateway.credential.unknown': 'caller',
  'gateway.rate.limited': 'limit',
  'gateway.budget.exceeded': 'rule',
  'gateway.inspector.busy': 'caller',
  'gateway.loop': 'caller',
  'gateway.credential.rejected': 'token',
  'gateway.login.required': 'token',
  'gateway.credential.unavailable': 'token',
  'gateway.credential.timeout': 'token',
  'gateway.upstream.unreachable': 'network',
  'gateway.upstream.tls': 'network',
  'gateway.upstream.invalid': 'network',
  'gateway.upstream.timeout': 'network',
  'gateway.upstream.unavailable': 'network',
  'gateway.proxy.refused': 'proxy',
  'gateway.proxy.auth': 'proxy',
  'gateway.proxy.timeout': 'proxy',
  'gateway.audit.unavailable': 'gateway',
  'gateway.draining': 'gateway',
  'gateway.internal': 'gateway',
};

/** A call shorter than this is not slow, whoever it waited for. */
export const SLOW_MS = 1_000;

/** Whether a call failed: it was answered with an error, was broken off, or its caller left. */
export function hasFailed({ status, errorCode, aborted }: Call): boolean {
  return status >= 400 || status === 0 || errorCode !== undefined || aborted === true;
}

/** Who or what a call failed by, or was slow by; null for one that went well, and was not slow. */
export function culpritOf(call: Call): Culprit | null {
  if (!hasFailed(call)) return slowedBy(call);
  const { status, errorCode, error, source, explanation } = call;
  if (errorCode === 'gateway.credential.unavailable' && error?.includes(' cannot be reached'))
    return error.includes(': the proxy ') ? 'proxy' : 'network';
  if (errorCode !== undefined) return CULPRIT_OF_CODE[errorCode] ?? (status >= 500 ? 'gateway' : 'caller');
  if (status < 400) return 'caller';
  if (source === 'gateway') return status >= 500 ? 'gateway' : 'caller';
  if (status >= 500) return 'platform';
  if (status === 429) return 'limit';
  return status === 401 || status === 403 || explanation !== undefined ? 'token' : 'caller';
}

/** What took more than half of a slow call's time. */
function slowedBy({ durationMs, queueMs, tokenWaitMs, upstreamMs, trace, closeCode }: Call): Culprit | null {
  // A socket is open as long as its caller wants it.
  if (durationMs < SLOW_MS || closeCode !== undefined) return null;
  const half = durationMs / 2;
  if ((trace?.stalled ?? 0) > half) return 'reader';
  if (queueMs > half) return 'limit';
  if (tokenWaitMs > half) return 'token';
  return upstreamMs > half ? 'platform' : null;
}
