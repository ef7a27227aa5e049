// Parts of the status document in words, as the page and the commands say them alike.

import { isUsable } from '../../auth/credentials/token-source.ts';
import { lastDayOf } from '../../config/sections/client.ts';
import { humanDuration } from '../../config/values.ts';
import type { AnonymousStatus, ClientStatus } from '../routes/client-status.ts';
import type { StatusDocument, TokenStatus } from '../routes/status.ts';

/** Whether a client may call, and until when. */
export function stateWords({
  state,
  secondsLeft,
  expiresAt,
}: Pick<ClientStatus, 'state' | 'secondsLeft' | 'expiresAt'>): string {
  if (state !== 'active' || secondsLeft === null || expiresAt === null) return state;
  return `active, ${humanDuration(secondsLeft)} left (to ${lastDayOf(Date.parse(expiresAt))})`;
}

/** The rules of a caller; of long lists the first `most`. */
export function ruleWords(
  { rules: { allow, deny, mode } }: Pick<ClientStatus | AnonymousStatus, 'rules'>,
  most = Number.POSITIVE_INFINITY,
): string {
  if (allow.length + deny.length === 0) return 'all calls';
  const listed = (word: string, rules: readonly string[]) => {
    const rest = rules.length - most;
    return rules.length === 0
      ? []
      : [`${word} ${rules.slice(0, most).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`];
  };
  return (
    [...listed('allow', allow), ...listed('deny', deny)].join('; ') + (mode === 'report' ? ' (only reported)' : '')
  );
}

/** Whether changing calls are written down, and what is missing. */
export function auditWords({ failure, lost, head }: NonNullable<StatusDocument['audit']>): string {
  const missing = lost === 0 ? '' : `; ${lost} ${lost === 1 ? 'call has' : 'calls have'} no line in it`;
  return failure === null
    ? `the audit trail is written (line ${head.seq} is its last)${missing}`
    : `the audit trail cannot be written (${failure})${missing}`;
}

/** Where spans go, and whether they arrive. */
export function tracingWords({
  origin,
  sampleRatio,
  sent,
  dropped,
  lastFailure,
}: NonNullable<StatusDocument['tracing']>): string {
  const lost = Object.values(dropped).reduce((sum, one) => sum + one, 0);
  const failure =
    lastFailure === null ? '' : `, the last request that failed: ${lastFailure.at} (${lastFailure.reason})`;
  return `spans go to ${origin} (sample_ratio ${sampleRatio}): ${sent} sent, ${lost} dropped${failure}`;
}

/** One of several tokens: how good it is, and how much of its limit is used. */
export function tokenWords({ number, token, secondsLeft, used, perMinute, pausedMs, lastError }: TokenStatus): string {
  const life = isUsable(token) && secondsLeft !== null ? `, ${humanDuration(secondsLeft)} left` : '';
  const limit = perMinute === null ? '' : ` of ${perMinute}`;
  const pause = pausedMs > 0 ? `, paused for ${humanDuration(Math.ceil(pausedMs / 1000))}` : '';
  const failure = lastError === null ? '' : `: ${lastError.message}`;
  return `token ${number}: ${token}${life}, ${used}${limit} calls in the last minute${pause}${failure}`;
}

/** Said where a whole gateway is read-only. */
export const READ_ONLY = 'nobody may change anything (server.read_only)';

/** Where the size of a limit is known from. */
export const SOURCES: Readonly<Record<NonNullable<StatusDocument['limits'][number]['source']>, string>> = {
  configured: 'the configuration',
  asked: 'the platform, asked',
  met: 'a 429',
  shared: 'another instance',
};

/** So many of those who made channels are named. */
const MOST_MAKERS = 5;

/** What is to be known of the channels of a user and application, and who made them; null while there is room. */
export function channelWords({
  credential,
  session,
  clients,
  warning,
}: StatusDocument['channels'][number]): string | null {
  if (warning === null) return null;
  const makers = clients.slice(0, MOST_MAKERS).map(({ client, channels }) => `${client ?? 'anonymous'} ${channels}`);
  const whose = session === null ? `credential ${credential}` : `a session of credential ${credential}`;
  return `${whose} (${makers.join(', ')}): ${warning}`;
}
