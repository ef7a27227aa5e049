// Explanations of calls that no answer failed: their caller left, or they were slow, and by whom.

import type { WhyFacts } from './why-facts.ts';
import { type Explanation, isSafe, sentences, setting, span, steps } from './why-words.ts';
import type { Call } from './wire.ts';

/** Time limits that programs have unless they are told otherwise, in ms. */
const USUAL_TIMEOUTS: readonly (readonly [ms: number, whose: string])[] = [
  [16_000, "the default timeout of the platform's JavaScript SDK"],
  [30_000, 'a usual default of HTTP clients'],
  [60_000, 'a usual default of HTTP clients and load balancers'],
  [10_000, 'a usual default of HTTP clients'],
  [5_000, 'a usual default of HTTP clients'],
];
/** How far from it a call may have ended by that limit. */
const TOLERANCE_MS = 250;

/** The caller closed its connection before it had its answer. */
export function callerLeft(call: Call): Explanation {
  const { durationMs } = call;
  const limit = USUAL_TIMEOUTS.find(([ms]) => Math.abs(durationMs - ms) <= TOLERANCE_MS)?.[1];
  const [what, ms, kind] = largestPart(call);
  const half = Math.max(1, Math.floor(durationMs / 2_000));
  const hasWaited = ms > 0 && (kind === 'queue' || kind === 'token');
  return {
    title: `the caller left after ${span(durationMs)}, before it had its answer`,
    text: sentences(
      limit === undefined ? null : `${span(durationMs)} is ${limit}.`,
      ms > 0 ? `Until then most of the time went into ${what}: ${span(ms)}.` : 'Nothing was sent to Genesys Cloud yet.',
      call.attempts > 0 && !isSafe(call) ? 'The call had been sent: what it changes may be done.' : null,
    ),
    todo: steps(
      limit === undefined
        ? 'Look at the time limit of the program that made the call.'
        : 'Raise the time limit of the program that made the call.',
      hasWaited
        ? `Or let the gateway give up earlier, with a reason: ${setting('timeouts', `total_wait = ${half}`)} (seconds)`
        : 'Or ask for less at a time: a smaller page, a shorter interval, fewer expanded fields.',
    ),
  };
}

/** A call that went well, and took its time. `isSlowBy` says by what. */
export function slow(call: Call, { settings }: WhyFacts): Explanation {
  const [what, ms, kind] = largestPart(call);
  const title = `it went well, and took ${span(call.durationMs)}, most of it ${what}`;
  const text = `${span(ms)} of ${span(call.durationMs)} went into ${what}.`;
  switch (kind) {
    case 'reader':
      return {
        title: `the answer was there, and the caller took ${span(ms)} to read it`,
        text:
          `Genesys Cloud needed ${span(call.upstreamMs)}. For ${span(ms)} the gateway had something for the ` +
          `caller that was not taken.`,
        todo: steps('Read answers as they come: work with what was read elsewhere than in the loop that reads.'),
      };
    case 'queue':
      return {
        title,
        text: sentences(text, call.heldBy === undefined ? null : `It waited for ${call.heldBy}.`),
        todo: steps(
          'gcg status shows how much of the limit is used, and how many wait.',
          'Make fewer calls, or ask for more at a time (pageSize=100).',
          settings === null ? null : `Calls wait for at most timeouts.total_wait (${span(settings.totalWaitMs)}).`,
        ),
      };
    case 'token':
      return {
        title,
        text,
        todo: steps(
          'The first call after a start waits for a token; if it happens later as well, gcg status tells about ' +
            'renewals.',
          'gcg doctor measures the login server.',
        ),
      };
    default:
      return {
        title: `Genesys Cloud took ${span(call.upstreamMs)} to answer`,
        text: sentences(text, call.attempts > 1 ? `It was sent ${call.attempts} times.` : null),
        todo: steps(
          'Ask for less at a time: a smaller page, a shorter interval, fewer expanded fields.',
          'Where the platform has an asynchronous job for it, use that.',
        ),
      };
  }
}

type Part = readonly [what: string, ms: number, kind: 'reader' | 'queue' | 'token' | 'platform'];

/** What took most of a call's time. */
function largestPart({ queueMs, tokenWaitMs, upstreamMs, trace }: Call): Part {
  const parts: readonly Part[] = [
    ['waiting for Genesys Cloud', upstreamMs, 'platform'],
    ['waiting for a rate limit or a connection', queueMs, 'queue'],
    ['waiting for a token', tokenWaitMs, 'token'],
    ["the caller's reading of the answer", trace?.stalled ?? 0, 'reader'],
  ];
  return parts.reduce((most, part) => (part[1] > most[1] ? part : most));
}
