// Explanations of what the credential, its token, or its rights at the platform are the reason of.

import type { CredentialFacts, WhyFacts } from './why-facts.ts';
import {
  commandFor,
  credentialSection,
  type Explain,
  type Explanation,
  fault,
  inTime,
  said,
  sentence,
  sentences,
  setting,
  span,
  steps,
  way,
} from './why-words.ts';
import type { Call } from './wire.ts';

/** The explanations by the gateway's code. */
export const TOKEN_ROWS: Readonly<Record<string, Explain>> = {
  'gateway.credential.rejected': rejected,
  'gateway.login.required': loginRequired,
  'gateway.credential.unavailable': unavailable,
  'gateway.credential.timeout': noTokenInTime,
};

function rejected(call: Call, { credential, now }: WhyFacts): Explanation {
  const { error = '' } = call;
  const name = call.credential ?? 'default';
  const section = credentialSection(name);
  const again = sentences(said(call, 'the platform refuses the credential'), nextAttempt(credential, now));
  const online = 'gcg check --online tries the credential as it is written now.';
  if (/client not found/.test(error))
    return {
      title:
        `no OAuth client with this id exists in the region that was ` +
        `asked${credential === null ? '' : ` (${credential.loginHost})`}`,
      text: again,
      todo: steps(
        `${setting(section, 'client_id = …')} from Admin > Integrations > OAuth of the organisation`,
        `If the organisation is in another region: ${setting(section, 'host = …')}, or [general] host`,
        online,
      ),
    };
  if (/client authentication failed/.test(error))
    return {
      title: `the client secret of credential ${name} is wrong`,
      text: sentences(again, secretFrom(credential)),
      todo: steps(
        'Take the secret anew from Admin > Integrations > OAuth; a file is read again when it changes.',
        online,
      ),
    };
  if (/may not use the grant/.test(error))
    return {
      title: `the OAuth client of credential ${name} is not made for this grant`,
      text: again,
      todo: steps(
        `${setting(section, 'grant_type = …')} as the OAuth client has it, or change the client's grant type in ` +
          `Admin > Integrations > OAuth`,
        online,
      ),
    };
  if (/the grant was refused/.test(error))
    return {
      title: `what credential ${name} shows for a token is used up, expired or revoked`,
      text: again,
      todo: steps(credential?.hasLogin === false ? online : commandFor('login', call.credential), online),
    };
  if (/assertion/i.test(error) && !/no assertion/.test(error))
    return {
      title: `the SAML assertion of credential ${name} is of no use any more`,
      text: again,
      todo: steps('Provide a fresh assertion, as the text says.'),
    };
  return {
    title: `Genesys Cloud, or this configuration, lets credential ${name} get no token`,
    text: again,
    todo: steps(
      /\b(?:file|env|command)\b/.test(error)
        ? `Mend what the text names, in [${section}].`
        : `Check the keys of [${section}].`,
      online,
    ),
  };
}

function loginRequired(call: Call, { credential }: WhyFacts): Explanation {
  const name = call.credential ?? 'default';
  const isSaml = credential?.grantType === 'saml2_bearer';
  // Where callers prove who they are, a browser cannot open it.
  const page = call.error?.includes(`/-/login/${name}`) ? `, or open /-/login/${name} at the gateway's address` : '';
  return {
    title: isSaml ? `credential ${name} needs a fresh assertion` : `a person must log in for credential ${name}`,
    text: said(call, 'a person must log in, or a fresh assertion or token is needed'),
    todo: steps(
      isSaml
        ? `Post one to /-/credentials/${name}/assertion, or set assertion_command.`
        : `${commandFor('login', call.credential)}${page}`,
    ),
  };
}

function unavailable(call: Call, { credential, now, wayOut }: WhyFacts): Explanation {
  const { error = '' } = call;
  const name = call.credential ?? 'default';
  const text = sentences(said(call, 'the token endpoint cannot be used'), nextAttempt(credential, now));
  if (/throttles logins/.test(error))
    return {
      title: `Genesys Cloud throttles logins of the OAuth client of credential ${name}`,
      text,
      todo: steps(
        'Wait: the gateway tries again by itself.',
        'Look for another program that asks for a token with each call with the same OAuth client; give it one ' +
          'of its own, or let it call this gateway.',
      ),
    };
  if (/ cannot be reached: the proxy /.test(error))
    return {
      title: 'the corporate proxy does not let the gateway get a token',
      text: sentences(text, way(wayOut)),
      todo: steps('gcg doctor tests the way there, and says what the proxy wants.'),
    };
  if (/ cannot be reached/.test(error))
    return {
      title: 'the login server of Genesys Cloud cannot be reached',
      text: sentences(text, way(wayOut)),
      todo: steps('gcg doctor tests the way there, step by step.'),
    };
  if (/command/.test(error))
    return {
      title: `the program that prints the secret of credential ${name} failed`,
      text,
      todo: steps('Run that program by hand, as the user that the gateway runs as.'),
    };
  return {
    title: `the login server of Genesys Cloud gives no token at the moment`,
    text,
    todo: steps(
      'Wait: the gateway tries again by itself, and calls go on with the first token.',
      'If it lasts: https://status.mypurecloud.com, and gcg doctor.',
    ),
  };
}

function noTokenInTime(call: Call, { credential, now, settings }: WhyFacts): Explanation {
  const name = call.credential ?? 'default';
  const waited = call.tokenWaitMs > 0 ? `The call waited ${span(call.tokenWaitMs)} for it.` : null;
  const renewal = credential?.renewal === 'running' ? 'A request for one is on its way now.' : null;
  return {
    title: `no token for credential ${name} came in time`,
    text: sentences(
      fault(call, 'no token came in time'),
      waited,
      renewal ?? nextAttempt(credential, now),
      credential?.lastError ? `The last attempt failed: ${sentence(credential.lastError)}` : null,
    ),
    todo: steps(
      'gcg status shows whether there is one by now; then send the call again.',
      `If the login server is just slow: ` +
        `${setting('reauthentication', `refresh_token_wait_max = ${more(settings?.tokenWaitMs)}`)} (seconds)`,
      'gcg doctor tests the way to the login server.',
    ),
  };
}

/** The platform refused the token of a call (401). */
export function platformUnauthorized(call: Call, { credential }: WhyFacts): Explanation {
  const name = call.credential ?? 'default';
  const words = call.platform?.code ?? call.platform?.message;
  const wasRenewed = call.retries?.includes('401') === true;
  const age = credential?.tokenSince == null ? null : Date.parse(call.time) - credential.tokenSince;
  const isFresh = wasRenewed || (age !== null && age >= 0 && age < 60_000);
  return {
    title: isFresh
      ? `Genesys Cloud refuses a fresh token of credential ${name}`
      : `Genesys Cloud refused the token of credential ${name}`,
    text: sentences(
      words === undefined ? 'It answered 401.' : `It answered 401: ${sentence(words)}`,
      wasRenewed ? 'The gateway got a new token, and that was refused as well.' : null,
      !wasRenewed && age !== null && age >= 0 ? `The token was ${span(age)} old.` : null,
      isFresh ? 'So the token is not the reason: the role, an IP allow list, or the organisation is.' : null,
    ),
    todo: isFresh
      ? steps(
          'In Admin > Integrations > OAuth, check the roles of the OAuth client and its divisions.',
          "Check whether an IP allow list of the organisation, or of the client, lacks this gateway's address.",
          'gcg whoami shows which organisation and client the token is of.',
        )
      : steps(
          'Send the call again: a new token is asked for.',
          'gcg whoami shows which organisation and client the token is of.',
        ),
  };
}

/** The platform says that whoever the token is of may not do this (403). */
export function platformForbidden(call: Call, { credential }: WhyFacts): Explanation {
  const name = call.credential ?? 'default';
  const { explanation } = call;
  const words = call.platform?.message;
  const named = permissionsNamed(`${explanation ?? ''} ${words ?? ''}`);
  const isUserless = explanation?.includes('is about the person who is logged in') === true;
  if (isUserless) return withoutUser(call);
  const owner =
    call.sessionUser === undefined ? `the OAuth client of credential ${name}` : 'the person who is logged in';
  return {
    title:
      named.length > 0
        ? `${owner} lacks a permission: ${named.join(', ')}`
        : `Genesys Cloud does not permit this to ${owner}`,
    text: sentences(
      explanation === undefined ? null : sentence(explanation),
      words === undefined ? null : `It says: ${sentence(words)}`,
    ),
    todo: steps(
      named.length > 0
        ? `Give a role with ${named.length === 1 ? 'this permission' : 'one of these permissions'} to ${owner}: ` +
            `Admin > Roles, then ${
              call.sessionUser === undefined ? 'Admin > Integrations > OAuth > Roles' : 'Admin > People'
            }. Mind the division.`
        : 'Check its roles and their divisions in Admin > Roles.',
      'gcg advise shows the least permissions that the calls seen so far need.',
      credential === null ? null : `gcg whoami ${name} shows whose token it is.`,
    ),
  };
}

/** What an operation about a person comes to with client credentials. */
export function withoutUser(call: Call): Explanation {
  const name = call.credential ?? 'default';
  return {
    title: `credential ${name} belongs to no person, and this operation is about one`,
    text: sentences(
      call.explanation === undefined ? null : sentence(call.explanation),
      call.platform?.message === undefined ? null : `Genesys Cloud says: ${sentence(call.platform.message)}`,
    ),
    todo: steps(
      'Call an operation that takes an id: /api/v2/users/{userId} in the place of /api/v2/users/me.',
      `Or use a credential with a login: ` +
        `${setting(credentialSection('NAME'), 'grant_type = authorization_code')}, then gcg login NAME`,
    ),
  };
}

/** Names of permissions (`routing:queue:view`) in a text. */
function permissionsNamed(text: string): string[] {
  return [
    ...new Set(text.match(/(?<![\w:.])[A-Za-z]\w{0,41}:[A-Za-z*][\w*]{0,41}:[A-Za-z*][\w*]{0,41}(?![\w:*])/g) ?? []),
  ];
}

function nextAttempt(credential: CredentialFacts | null, now: number): string | null {
  if (credential === null) return null;
  if (credential.token === 'fresh' || credential.token === 'due') return 'There is a token by now.';
  return credential.nextAttemptAt === null ? null : `The next attempt begins${inTime(credential.nextAttemptAt, now)}.`;
}

function secretFrom(credential: CredentialFacts | null): string | null {
  return credential?.secretFrom == null ? null : `The secret comes from ${credential.secretFrom}.`;
}

/** Twice as many seconds, for a setting. */
function more(ms: number | undefined): string {
  return ms === undefined ? '…' : String(Math.ceil((2 * ms) / 1_000));
}
