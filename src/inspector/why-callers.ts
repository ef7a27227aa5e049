// Explanations of what a caller, or a rule for it, is the reason of: requests that are malformed, go nowhere, come from
// a page or a name that is not let in, prove nothing, or may not do what they ask for.

import type { WhyFacts } from './why-facts.ts';
import {
  type Explain,
  type Explanation,
  fault,
  plainPath,
  ruleFor,
  rulesOf,
  said,
  sentences,
  setting,
  size,
  span,
  steps,
} from './why-words.ts';
import type { Call } from './wire.ts';

/** The explanations by the gateway's code. */
export const CALLER_ROWS: Readonly<Record<string, Explain>> = {
  'gateway.request.invalid': invalidRequest,
  'gateway.body.too.large': bodyTooLarge,
  'gateway.route.not.found': noRoute,
  'gateway.host.forbidden': hostForbidden,
  'gateway.origin.forbidden': originForbidden,
  'gateway.client.unauthenticated': unauthenticated,
  'gateway.client.forbidden': forbidden,
  'gateway.session.ended': sessionEnded,
  'gateway.credential.unknown': credentialUnknown,
  'gateway.budget.exceeded': budgetExceeded,
  'gateway.loop': loop,
};

/** What is best done by the status that a malformed request was answered with. */
const BY_STATUS: Readonly<Record<number, string>> = {
  405: 'Use one of the methods that the header Allow of the answer lists.',
  408:
    'Send the whole request without long pauses: a file from a slow disk or a pipe is best read before the ' +
    'call begins.',
  417: 'Leave the header Expect out, or send Expect: 100-continue.',
  422: 'Mend what the text names, and send it again.',
  431: 'Send fewer or shorter headers; cookies and copied headers are the usual reason.',
};

function invalidRequest(call: Call): Explanation {
  return {
    title: 'the request cannot be passed on as it was written',
    text: said(call, 'the request is malformed, or can be read in more than one way'),
    todo: steps(
      BY_STATUS[call.status] ?? 'Send it as the text says. `curl -v` shows what a program really sends.',
      call.status === 400
        ? 'A path is sent as the platform documents it: special characters of an id as %XX, once.'
        : null,
    ),
  };
}

function bodyTooLarge(call: Call, { settings }: WhyFacts): Explanation {
  const most = settings === null || settings.maxBodyBytes === 0 ? '' : `: ${size(settings.maxBodyBytes)} at most`;
  return {
    title: `the request's body is larger than this gateway takes${most}`,
    text: said(call, 'the body is larger than server.max_body_bytes'),
    todo: steps(
      'Send less at a time, where the platform takes it in parts.',
      `${setting('server', 'max_body_bytes = 0')} (no limit), or a larger number of bytes`,
    ),
  };
}

function noRoute(call: Call): Explanation {
  const path = plainPath(call);
  const at = path.indexOf('/api/v2/');
  const near =
    at > 0
      ? `Call ${path.slice(at)}: nothing but the name of a credential may stand before /api/v2.`
      : /^\/v2\//.test(path)
        ? `Call /api${path}: the path is forwarded as it is.`
        : null;
  return {
    title: 'nothing is served at this address',
    text: sentences(said(call, 'only /api/v2 is forwarded'), `The call went to ${path}.`),
    todo: steps(
      near,
      "Calls go to /api/v2/… at the gateway's own address, with the name of a credential before it where one is " +
        'wanted: /NAME/api/v2/….',
      'In an SDK, set the address of the gateway as its base path, without a path of your own (docs/sdk-recipes.md).',
    ),
  };
}

function hostForbidden(call: Call): Explanation {
  const name = call.refused ?? 'the name in the Host header';
  return {
    title: `the gateway is not known by the name ${name}`,
    text: sentences(
      `The call came with Host: ${name}, which is neither an IP address, nor a loopback name, nor listed.`,
      'Other names are refused, because a web page can make any name of its own lead to this machine.',
    ),
    todo: steps(
      'Call it as localhost or by its IP address.',
      `If the name is really the gateway's: ` +
        `${setting('server', `allowed_hosts = ${call.refused?.replace(/:\d+$/, '') ?? 'NAME'}`)}`,
    ),
  };
}

function originForbidden(call: Call): Explanation {
  const page = call.refused ?? 'a web page of another origin';
  const { error = '' } = call;
  if (error.includes('into a frame'))
    return {
      title: 'a web page tried to run or frame what the API answers',
      text: said(call, 'answers of the API are for reading'),
      todo: steps('Read the answer with fetch(), and show what is in it.'),
    };
  if (error.includes('X-Gateway-Request'))
    return {
      title: 'a change was asked for without the header that says it is meant',
      text: said(call, 'changes need the header X-Gateway-Request: 1'),
      todo: steps('Send the header X-Gateway-Request: 1 with it.'),
    };
  if (error.includes('for pages of the gateway itself'))
    return {
      title: `the page ${page} may use the API, and not the gateway's own pages`,
      text: said(call, 'status, metrics and the admin routes are for pages of the gateway itself'),
      todo: steps('Ask for status and metrics from a program, or open them at the address of the gateway.'),
    };
  return {
    title: `the page ${page} may not use the gateway`,
    text: sentences(
      `A browser sent this call for ${call.refused === undefined ? page : `the page ${page}`}, which is not listed.`,
      'Any page that a person opens could call a gateway on that machine, so only listed ones may.',
    ),
    todo: steps(
      `If the page is yours: ${setting('server', `cors_origins = ${call.refused ?? 'https://app.example.com'}`)}`,
      'Every script on that page may then call the API as whoever uses the browser, and log in.',
    ),
  };
}

function unauthenticated(call: Call): Explanation {
  const { claimedClient, peer, heldBy, error = '' } = call;
  const name = claimedClient ?? /^client ([\w.-]+) (?:is|ended|may) /.exec(error)?.[1];
  const from = peer === undefined ? null : `It came from ${peer}.`;
  if (/ is blocked/.test(error))
    return {
      title: `client ${name} was blocked by an administrator`,
      text: sentences(said(call, ''), from),
      todo: steps(`gcg client unblock ${name}`),
    };
  if (/ ended at /.test(error))
    return {
      title: `client ${name} has reached the end of its time`,
      text: sentences(said(call, ''), from),
      todo: steps(`${setting(`client.${name}`, 'expires = …')} with a later time, or without the line`),
    };
  if (/may not call from/.test(error))
    return {
      title: `client ${name} may not call from this address`,
      text: sentences(said(call, ''), 'Its secret was right.'),
      todo: steps(
        `If the address is its own: ${setting(`client.${name}`, `from = ${peer ?? 'ADDRESS'}`)}`,
        `If it is not, its secret is in other hands: gcg client rotate ${name}`,
      ),
    };
  return {
    title: name === undefined ? 'the call did not prove who makes it' : `the call did not prove that ${name} makes it`,
    text: sentences(
      fault(call, 'the caller did not prove who it is'),
      from,
      heldBy === 'wrong secrets'
        ? `Answers to wrong secrets are delayed: this one waited ${span(call.durationMs)}.`
        : null,
    ),
    todo: steps(
      'Send the secret of a client: curl -H "X-Gateway-Key: $GCG_KEY" …',
      name === undefined
        ? 'A client of its own for this program: gcg client add NAME >> gcg.ini'
        : `If its secret is lost: gcg client rotate ${name}`,
      'gcg client list shows which clients there are, and when each was last seen.',
    ),
  };
}

function forbidden(call: Call, { usable }: WhyFacts): Explanation {
  const { rule, client, error = '' } = call;
  const who = client === undefined ? 'callers who are no client' : `client ${client}`;
  const { section, prefix } = rulesOf(call);
  const what = ruleFor(call);
  if (rule === 'server.read_only')
    return {
      title: 'this gateway lets nobody change anything',
      text:
        `${call.method} ${what === `${call.method} ${call.path}` ? '' : `(${what}) `}would change ` +
        `something, and server.read_only is set.`,
      todo: steps(
        `If changes are wanted: ${setting('server', 'read_only = false')}, and start it without --read-only`,
        `gcg client can ${client ?? '-'} ${call.method} ${plainPath(call)} says what would decide then.`,
      ),
    };
  if (rule?.includes('not listed'))
    return {
      title: `${who} may call only what is listed, and this is not`,
      text: `The call is ${what}; none of ${prefix}allow[] in [${section}] covers it.`,
      todo: steps(
        `To permit just this: ${setting(section, `${prefix}allow[] = ${what}`)}`,
        `gcg client can ${client ?? '-'} ${call.method} ${plainPath(call)} tries it without a call.`,
      ),
    };
  if (rule?.includes('more than one way'))
    return {
      title: 'the call can be read as two different ones, and rules hold for both',
      text: said(call, 'a header or the path asks for another method or path than the request line'),
      todo: steps(
        'Send method and path plainly: without X-HTTP-Method-Override and headers like it, and without %2F or ' +
          'dots in the path.',
      ),
    };
  if (rule !== undefined)
    return {
      title: `a rule denies this to ${who}`,
      text: `The call is ${what}, and [${section}] has ${rule}. A deny wins over every allow.`,
      todo: steps(
        `If the call is meant to be made: narrow or remove that line in [${section}]; no allow[] line helps.`,
        `gcg client can ${client ?? '-'} ${call.method} ${plainPath(call)} shows which rule decides.`,
      ),
    };
  if (/credential .* is not listed/.test(error))
    return {
      title: `${who} may not use this credential`,
      text: fault(call, 'the credential is not listed for this caller'),
      todo: steps(
        `If it should: in the configuration, ${error.split(': ').slice(1).join(': ')}`,
        usable.length > 0 ? `It may use: ${usable.join(', ')}.` : null,
      ),
    };
  if (error.includes('admin'))
    return {
      title: `${who} is no administrator of this gateway`,
      text: said(call, 'the admin pages need a client with admin = true'),
      todo: steps(
        'Use the secret of a client with admin = true.',
        client === undefined ? null : `If this client should be one: ${setting(section, 'admin = true')}`,
      ),
    };
  return {
    title: `${who} may not do this`,
    text: said(call, 'the caller may not do this'),
    todo: steps('Do as the text says.'),
  };
}

function sessionEnded(call: Call): Explanation {
  return {
    title: 'the login that this call was made with has ended',
    text: said(call, 'the handle is unknown, has expired or was revoked'),
    todo: steps(
      'Log in again, in the application that made the call: its SDK does so when it is told that the token ended.',
      'A handle also ends when the secret of its client is changed, and with a restart where the store is in ' +
        'memory: [store] type = file keeps it.',
    ),
  };
}

function credentialUnknown(call: Call, { usable }: WhyFacts): Explanation {
  return {
    title: 'the call names no credential that there is',
    text: said(call, 'no credential of that name is configured'),
    todo: steps(
      usable.length > 0 ? `This caller may use: ${usable.join(', ')}. Call /NAME/api/v2/… with one of them.` : null,
      'gcg config lists the credentials, and where each comes from.',
    ),
  };
}

function budgetExceeded(call: Call): Explanation {
  const { client = 'NAME' } = call;
  return {
    title: `client ${client} has used up its requests of this month`,
    text: sentences(
      fault(call, 'the budget of the month is used up'),
      'The next month begins at 00:00 UTC on its first day.',
    ),
    todo: steps(
      `gcg usage shows who used how much.`,
      `If it needs more: ${setting(`client.${client}`, 'requests_per_month = …')}; it counts at once`,
    ),
  };
}

function loop(call: Call): Explanation {
  return {
    title: 'the call came back to the gateway that had sent it',
    text: said(call, '[gateway] host leads back to this gateway'),
    todo: steps(
      'In the configuration, let [gateway] host name the next gateway, and not this one; without another ' +
        'gateway, remove the section [gateway].',
    ),
  };
}
