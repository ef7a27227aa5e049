// Why a call failed or was slow: who, what happened, what to do. One table for the page, the terminal and files. Pure:
// by the call's line, and by what the running gateway knows beside it.

import { culpritOf } from './culprit.ts';
import { CALLER_ROWS } from './why-callers.ts';
import type { WhyFacts } from './why-facts.ts';
import { platformLimited, rateLimited } from './why-limits.ts';
import { NETWORK_ROWS } from './why-network.ts';
import { platformFailed, platformRefused } from './why-platform.ts';
import { callerLeft, slow } from './why-slow.ts';
import { platformForbidden, platformUnauthorized, TOKEN_ROWS, withoutUser } from './why-tokens.ts';
import type { Explain } from './why-words.ts';
import type { Call, Why } from './wire.ts';

/** Every row of the table, by what was seen: a code of the gateway's, else what the platform answered. */
export const WHY_ROWS: Readonly<Record<string, Explain>> = {
  ...CALLER_ROWS,
  ...TOKEN_ROWS,
  'gateway.rate.limited': rateLimited,
  ...NETWORK_ROWS,
  'platform.401': platformUnauthorized,
  'platform.403': platformForbidden,
  'platform.no.user': withoutUser,
  'platform.429': platformLimited,
  'platform.4xx': platformRefused,
  'platform.5xx': platformFailed,
  'caller.left': callerLeft,
  slow,
};

/** The row that a call is explained by; null for one that went well and was not slow. */
export function whyRowOf(call: Call): string | null {
  const { status, errorCode, aborted, source, explanation } = call;
  if (culpritOf(call) === null) return null;
  if (errorCode !== undefined) {
    // 499: how the gateway notes that nobody was there to be answered.
    if (status === 499 || (aborted === true && errorCode === 'gateway.request.invalid')) return 'caller.left';
    return Object.hasOwn(WHY_ROWS, errorCode) ? errorCode : 'gateway.internal';
  }
  if (aborted === true && status < 400) return 'caller.left';
  if (status === 0) return 'caller.left';
  if (status < 400) return 'slow';
  if (source === 'gateway') return status >= 500 ? 'gateway.internal' : 'gateway.request.invalid';
  if (explanation?.includes('is about the person who is logged in') === true && status < 500) return 'platform.no.user';
  if (status === 401 || status === 403 || status === 429) return `platform.${status}`;
  return status >= 500 ? 'platform.5xx' : 'platform.4xx';
}

/** The explanation of a call; null for one that went well and was not slow. */
export function whyOf(call: Call, facts: WhyFacts): Why | null {
  const row = whyRowOf(call);
  const who = culpritOf(call);
  const explain = row === null ? undefined : WHY_ROWS[row];
  return explain === undefined || who === null ? null : { who, ...explain(call, facts) };
}
