// Explains a refusal of the platform beside its own answer, which passes untouched: in the record, for callers who ask,
// and in the status.

import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { needsUser, noUserWords, permissionsIn, type Refusal, refusalWords } from '../operations/explain.ts';
import type { Operation } from '../operations/operation.ts';
import { operationTable } from '../operations/table.ts';
import type { UpstreamResponse } from '../upstream/call.ts';
import { platformBody } from '../upstream/platform-error.ts';
import type { ForwardCredential } from './authorize.ts';
import type { Exchange } from './exchange.ts';

/** A refusal is short: whoever sends it slowly is not waited for. */
const BODY_WAIT_MS = 1_000;

/**
 * Notes in the record, before it is sent, that a call cannot succeed for want of a person. It goes on: what the platform
 * says is its own.
 */
export function foresee({ record }: Exchange, { config, limitKey }: ForwardCredential): void {
  // A session of an application's own has a person, whatever grant its credential is for.
  if (config.grantType !== 'client_credentials' || limitKey !== undefined || !record.route.includes('/me')) return;
  const operation = operationOf(record.operation);
  if (operation !== null && needsUser(operation)) record.explanation = noUserWords(operation, config.name);
}

/** Whether `explainRefusal` has anything to look at. */
export function mayNeedExplaining(
  { explanation, operation }: Pick<ExchangeRecord, 'explanation' | 'operation'>,
  { statusCode }: Pick<UpstreamResponse, 'statusCode'>,
): boolean {
  return explanation !== null || statusCode === 403 || (statusCode === 200 && SUBSCRIBING.has(operation ?? ''));
}

/** Notes why the platform refused a call, or a topic of one. Reads a copy; the response stays whole. Never rejects. */
export async function explainRefusal(
  exchange: Exchange,
  credential: ForwardCredential,
  response: UpstreamResponse,
): Promise<void> {
  const { record, gateway, runtime } = exchange;
  const { statusCode } = response;
  if (record.explanation !== null) {
    // It was foreseen; where the platform thinks otherwise, it is right.
    if (statusCode < 400) record.explanation = null;
    else if (statusCode < 500) gateway.refusals.note(record, statusCode, credential.source, always(record.explanation));
    return;
  }
  const isSubscription = statusCode === 200 && SUBSCRIBING.has(record.operation ?? '');
  if (statusCode !== 403 && !isSubscription) return;
  const body = await platformBody(response, runtime.clock, BODY_WAIT_MS).catch(() => null);
  if (isSubscription) {
    const words = body === null ? null : refusedTopics(body);
    if (words !== null) record.explanation = gateway.refusals.note(record, 200, credential.source, always(words));
    return;
  }
  const operation = operationOf(record.operation);
  const named = typeof body?.message === 'string' ? permissionsIn(body.message) : [];
  const isSession = credential.limitKey !== undefined;
  const words = (policies: Refusal['policies']) =>
    refusalWords({ operation, credential: credential.config.name, isSession, named, policies });
  record.explanation = gateway.refusals.note(record, statusCode, credential.source, words);
  // Aside from the call, and at most once a minute: the next refusal can say what is missing, and the status.
  void gateway.refusals.granted.ask(credential, runtime.upstream.send);
}

function always(words: string): () => string {
  return () => words;
}

function operationOf(id: string | null): Operation | null {
  return id === null ? null : (operationTable().byId(id) ?? null);
}

const SUBSCRIBING: ReadonlySet<string> = new Set([
  'postNotificationsChannelSubscriptions',
  'putNotificationsChannelSubscriptions',
]);
/** So many topics are named. */
const NAMED_TOPICS = 3;

/** The topics that the platform refused inside an answer of 200; null where there is none. Never throws. */
export function refusedTopics({ entities }: Readonly<Record<string, unknown>>): string | null {
  if (!Array.isArray(entities)) return null;
  const refused = entities.filter(
    (topic) =>
      typeof topic?.rejectionReason === 'string' ||
      (Array.isArray(topic?.missingPermissions) && topic.missingPermissions.length > 0),
  );
  if (refused.length === 0) return null;
  const named = refused.slice(0, NAMED_TOPICS).map(({ id, missingPermissions }) => {
    const topic = typeof id === 'string' && /^[\w.{}@-]{1,200}$/.test(id) ? id : 'a topic';
    // Only texts are joined: what else there may be has no text, or an endless one.
    const names = Array.isArray(missingPermissions)
      ? missingPermissions.filter((name) => typeof name === 'string')
      : [];
    const missing = permissionsIn(names.join(' '));
    return missing.length === 0 ? topic : `${topic} (needs ${missing.join(', ')})`;
  });
  const more = refused.length > NAMED_TOPICS ? ` and ${refused.length - NAMED_TOPICS} more` : '';
  return `the platform refused ${refused.length === 1 ? 'a topic' : `${refused.length} topics`}: ${named.join(', ')}${more}`;
}
