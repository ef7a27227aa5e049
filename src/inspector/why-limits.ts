// Explanations of rate limits: the platform's, a client's own, and the bounds of the gateway's queue.

import type { UsedBy, WhyFacts } from './why-facts.ts';
import { count, type Explanation, fault, said, sentence, sentences, setting, span, steps } from './why-words.ts';
import type { Call } from './wire.ts';

/** The gateway held a call back (`gateway.rate.limited`). */
export function rateLimited(call: Call, facts: WhyFacts): Explanation {
  const { error = '', heldBy } = call;
  if (/queue_max/.test(error)) return queueFull(call, facts);
  if (/^requests_per_minute of client /.test(heldBy ?? '')) return ownLimit(call, facts);
  if (heldBy === undefined || !/^the platform's limit/.test(heldBy)) return tooOften(call);
  const { limit, settings } = facts;
  return {
    title: `Genesys Cloud's ${holderOf(heldBy, call)} is used up`,
    text: sentences(
      used(call, facts),
      `This call could not have gone within ` +
        `timeouts.total_wait${settings === null ? '' : ` (${span(settings.totalWaitMs)})`}, so it was told at ` +
        `once instead of being refused by the platform.`,
      turn(call),
      limit !== null && limit.waiting > 0 ? `${limit.waiting} more wait for it now.` : null,
    ),
    todo: steps(retry(call), ...relief(call, facts)),
  };
}

/** The platform refused a call for its own limit, and waiting did not help (429). */
export function platformLimited(call: Call, facts: WhyFacts): Explanation {
  const words = call.platform?.message;
  const { settings, limit } = facts;
  const total = settings === null ? '' : ` (${span(settings.totalWaitMs)})`;
  const tries = call.attempts > 1 ? `It was sent ${call.attempts} times.` : null;
  const asked =
    call.retryAfterMs === undefined
      ? 'It did not say how long to wait.'
      : `It asked to wait ${span(call.retryAfterMs)}; that did not fit into timeouts.total_wait${total}.`;
  return {
    title:
      limit === null
        ? "Genesys Cloud's rate limit was reached"
        : `${limit.name.replace(/^the platform's/, "Genesys Cloud's").replace(' platform.api:', ' ')} was reached`,
    text: sentences(
      words === undefined ? null : `Genesys Cloud says: ${sentence(words)}`,
      used(call, facts),
      tries,
      asked,
    ),
    todo: steps(
      retry(call),
      ...relief(call, facts),
      'Other programs with the same OAuth client count too, also those that do not call this gateway.',
    ),
  };
}

function queueFull(call: Call, { settings }: WhyFacts): Explanation {
  const larger = settings === null ? '…' : settings.queueMax * 2;
  return {
    title: 'too many calls wait in the gateway already',
    text: fault(call, 'rate_limit.queue_max calls wait already'),
    todo: steps(
      'Make fewer calls at a time: what waits longer than a caller would is of no use.',
      `If they should wait: ${setting('rate_limit', `queue_max = ${larger}`)}`,
      'gcg status shows which limit they wait for.',
    ),
  };
}

function ownLimit(call: Call, { limit }: WhyFacts): Explanation {
  const client = call.client ?? 'NAME';
  const perMinute = limit?.perMinute;
  return {
    title: `client ${client} has used its own calls of this minute`,
    text: sentences(
      `The configuration gives it ${perMinute == null ? 'a number of' : perMinute} calls a minute ` +
        `(requests_per_minute).`,
      turn(call),
    ),
    todo: steps(retry(call), `If it needs more: ${setting(`client.${client}`, 'requests_per_minute = …')}`),
  };
}

/** Bounds of logins, of handles, of sockets. */
function tooOften(call: Call): Explanation {
  return {
    title: 'one caller does this more often than the gateway lets it',
    text: sentences(said(call, 'too many of one caller'), turn(call)),
    todo: steps(
      retry(call),
      'Keep what a call has given (a token, a channel) and use it again, in the place of a new one each time.',
    ),
  };
}

/**
 * A limit and its holder, from its name: `the platform's limit NAMESPACE:KEY of credential crm`. Those of a whole
 * credential are of namespace platform.api.
 */
function holderOf(limit: string, { credential }: Call): string {
  const [, name, owner] =
    /^the platform's limit (?!platform\.api:)(\S+:\S+) of (credential|organisation) /.exec(limit) ?? [];
  if (name !== undefined)
    return owner === 'organisation'
      ? `limit ${name}, which the whole organisation shares,`
      : `limit ${name} of credential ${credential ?? 'default'}`;
  const [, route] = /^the platform's limit (?:\S+ )?of (\S+ \S+) for (?:credential|organisation) /.exec(limit) ?? [];
  return route === undefined
    ? `rate limit for credential ${credential ?? 'default'}`
    : `rate limit for ${route} with credential ${credential ?? 'default'}`;
}

/** `300 a minute of credential crm were used: etl 212, ivr 71, this client (web) 17.` */
function used(call: Call, { limit, usedBy, areOthersHidden }: WhyFacts): string | null {
  const perMinute =
    limit?.perMinute == null
      ? null
      : `${count(limit.perMinute, 'call')} a minute ` + `${limit.perMinute === 1 ? 'is' : 'are'} allowed.`;
  if (areOthersHidden) {
    const own = usedBy?.[0]?.calls ?? 0;
    const went =
      usedBy === null ? null : `In the minute before, ${count(own, 'call')} of this client went through${where(call)}.`;
    return sentences(perMinute, went, 'Other clients may use the same limit.');
  }
  if (usedBy === null || usedBy.length === 0) return perMinute;
  const nameOf = ({ client }: UsedBy) =>
    client === (call.client ?? null)
      ? client === null
        ? 'callers without a name (as this one)'
        : `this client (${client})`
      : (client ?? 'callers without a name');
  const shares = usedBy.slice(0, NAMED).map((one) => `${nameOf(one)} ${one.calls}`);
  const rest = usedBy.slice(NAMED).reduce((sum, { calls }) => sum + calls, 0);
  const all = usedBy.reduce((sum, { calls }) => sum + calls, 0);
  return sentences(
    perMinute,
    `In the minute before, ${all} went through with credential ${call.credential ?? 'default'}${where(call)}: ` +
      `${shares.join(', ')}${rest > 0 ? `, others ${rest}` : ''}.`,
    limit?.perMinute != null && all < limit.perMinute ? whereTheRestIs(call) : null,
  );
}

/** Why a limit may be used up with fewer calls than it allows. */
function whereTheRestIs({ client }: Call): string {
  return client === undefined
    ? 'Calls that are still on their way are not among them.'
    : 'The rest opens bit by bit, so that a burst of one client leaves room for others, or is on its way.';
}

/** What is counted is the calls of a credential: of a limit that only some paths have that may be more than its own. */
function where({ heldBy, limit = '' }: Call): string {
  const name = heldBy ?? limit;
  const isOfAll = name === '' || /^(the platform's limit )?(platform\.api:|of credential )/.test(name);
  return isOfAll ? '' : ' (to any path, also those without this limit)';
}

/** So many clients are named. */
const NAMED = 5;

function turn({ retryAfterMs }: Call): string | null {
  return retryAfterMs === undefined ? null : `Its turn would have been ${span(retryAfterMs)} later.`;
}

function retry({ retryAfterMs }: Call): string {
  return retryAfterMs === undefined
    ? 'Wait, and send it again.'
    : `Send it again after ${span(retryAfterMs)}: Retry-After says so, and SDKs can do it by themselves.`;
}

/** Seconds in which the call would have gone. */
function longEnough({ retryAfterMs }: Call): string {
  return retryAfterMs === undefined ? '…' : String(Math.ceil(retryAfterMs / 1_000) + 1);
}

/** What makes room: the greediest of several clients first. */
function relief(call: Call, { usedBy }: WhyFacts): readonly (string | null)[] {
  // No OAuth client of one's own helps, nor does a number for one of the organisation's programs.
  if (/^(?!platform\.api:)\S+:org\./.test(call.limit ?? '') || / of organisation /.test(call.heldBy ?? ''))
    return [
      'The limit is shared by all OAuth clients of the organisation, also those that do not call this gateway: ' +
        'fewer calls help.',
    ];
  const greediest = usedBy?.[0];
  const isShared = (usedBy?.length ?? 0) > 1;
  return [
    isShared && greediest?.client != null && greediest.client !== call.client
      ? `To keep room for others: ${setting(`client.${greediest.client}`, 'requests_per_minute = …')}`
      : null,
    isShared
      ? 'Or give the program with the most calls an OAuth client of its own ([credential.NAME]): each has a ' +
        'limit of its own.'
      : 'Ask for more at a time (pageSize=100, bulk and search operations), and keep what does not change.',
    `If calls may wait longer: ${setting('timeouts', `total_wait = ${longEnough(call)}`)} (seconds), where programs ` +
      'wait as long',
  ];
}
