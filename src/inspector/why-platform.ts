// Explanations of what the platform itself answered: its failures (5xx), and what it refuses (4xx).

import type { WhyFacts } from './why-facts.ts';
import { again, type Explanation, isSafe, plainPath, sentence, sentences, steps, tries } from './why-words.ts';
import type { Call } from './wire.ts';

/** The platform failed (5xx), and trying again did not help. */
export function platformFailed(call: Call, { settings }: WhyFacts): Explanation {
  const words = call.platform?.message;
  return {
    title: `Genesys Cloud failed with ${call.status}`,
    text: sentences(
      words === undefined ? null : `It says: ${sentence(words)}`,
      tries(call) ??
        (isSafe(call) ? null : `A ${call.method} is not sent twice by itself, since it might be done twice.`),
      settings !== null && call.attempts > settings.retryMax
        ? `More tries than retry.retry_max (${settings.retryMax}) are not made.`
        : null,
    ),
    todo: steps(
      again(call, ' in a while'),
      'Look at https://status.mypurecloud.com for your region.',
      call.correlationId === undefined
        ? null
        : `If it lasts, give ${call.correlationId} to the support of Genesys: it finds the call there.`,
    ),
  };
}

/** The platform refused what was asked (4xx). */
export function platformRefused(call: Call): Explanation {
  const { code, message } = call.platform ?? {};
  const words = message === undefined ? null : sentence(message);
  const isListed = call.operation !== undefined && call.operation !== 'unlisted';
  const title = TITLES[call.status] ?? `Genesys Cloud refuses the request with ${call.status}`;
  return {
    title,
    text: sentences(
      code === undefined && words === null
        ? `It answered ${call.status}.`
        : `It answered ${call.status}${code === undefined ? '' : ` (${code})`}${words === null ? '.' : `: ${words}`}`,
      'The gateway passed the answer on as it came.',
    ),
    todo: steps(
      isListed ? null : `There is no ${call.method} ${plainPath(call)} that this release knows of: check its spelling.`,
      ADVICE[call.status] ?? 'Change the request as the answer says.',
      !isListed
        ? null
        : `The documentation of ${call.operation} in the API Explorer (developer.genesys.cloud) says what it takes.`,
      call.correlationId === undefined ? null : `For the support of Genesys: correlation id ${call.correlationId}.`,
    ),
  };
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Genesys Cloud finds the request malformed',
  404: 'Genesys Cloud has nothing at this path',
  405: 'Genesys Cloud does not take this method at this path',
  409: 'the change collides with what Genesys Cloud has already',
  412: 'the version that the change was made for is not the newest',
  413: "the request's body is larger than Genesys Cloud takes",
  415: 'Genesys Cloud does not take a body of this type',
  422: 'Genesys Cloud understands the request, and cannot do what it says',
};

const ADVICE: Readonly<Record<number, string>> = {
  400: 'Mend the field that the answer names; its body has details.',
  404:
    'Check the id and the path. An object of a division that the credential may not see looks as if it were ' +
    'not there.',
  405: 'Use a method that the operation has.',
  409: 'Read the object again, and make the change on what it is now; the same name may be taken.',
  412: 'Read the object again, and send its new version with the change.',
  413: 'Send less at a time.',
  415: 'Send Content-Type: application/json with JSON, or the type that the operation takes.',
  422: 'Mend what the answer names.',
};
