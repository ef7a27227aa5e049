// Explanations of what happened on the way: the corporate proxy, the network, and the gateway's own failures.

import type { WhyFacts } from './why-facts.ts';
import {
  again,
  type Explain,
  type Explanation,
  fault,
  isSafe,
  said,
  sentences,
  setting,
  size,
  span,
  steps,
  tries,
  way,
} from './why-words.ts';
import type { Call } from './wire.ts';

/** The explanations by the gateway's code. */
export const NETWORK_ROWS: Readonly<Record<string, Explain>> = {
  'gateway.proxy.auth': proxyAuth,
  'gateway.proxy.refused': proxyRefused,
  'gateway.proxy.timeout': proxyTimeout,
  'gateway.upstream.tls': untrusted,
  'gateway.upstream.unreachable': unreachable,
  'gateway.upstream.timeout': late,
  'gateway.upstream.unavailable': heldOff,
  'gateway.upstream.invalid': notHttp,
  'gateway.audit.unavailable': auditUnavailable,
  'gateway.draining': draining,
  'gateway.internal': internal,
};

const DOCTOR = 'gcg doctor tests the way there, step by step.';

/** The proxy that a sentence of ours names: `the proxy http://proxy:3128 refused …`. */
function proxyIn({ error = '' }: Call): string {
  return /the proxy (\S+?)[:,]?(?: |$)/.exec(error)?.[1] ?? 'the corporate proxy';
}

/** Who chose the proxy. */
function chosenBy({ wayOut }: WhyFacts): string | null {
  return wayOut === null || wayOut.via === 'direct' ? null : `It is used because ${wayOut.reason} says so.`;
}

/** The setting of a proxy that does not come from the configuration is changed elsewhere. */
function proxySetting({ wayOut }: WhyFacts, line: string): string {
  const isVariable = wayOut !== null && /^[A-Za-z]+_PROXY$/i.test(wayOut.reason);
  return isVariable
    ? `${setting('proxy', line)}; or change ${wayOut.reason} in the environment that the gateway starts in`
    : setting('proxy', line);
}

function proxyAuth(call: Call, facts: WhyFacts): Explanation {
  const { error = '' } = call;
  const proxy = proxyIn(call);
  const offersOther = /offers only (.+?) authentication/.exec(error)?.[1];
  if (offersOther !== undefined)
    return {
      title: `the corporate proxy ${proxy} wants ${offersOther}, which the gateway does not speak`,
      text: sentences(said(call, ''), chosenBy(facts)),
      todo: steps(
        `Run a local relay that speaks it (px, cntlm), and ${setting('proxy', 'url = http://127.0.0.1:3128')}`,
        'Or ask the administrators of the proxy for an account with Basic.',
      ),
    };
  const isWrong = error.includes('does not accept the credentials');
  return {
    title: isWrong
      ? `the corporate proxy ${proxy} does not accept the credentials`
      : `the corporate proxy ${proxy} wants a user name and a password`,
    text: sentences(said(call, 'the corporate proxy asks for credentials'), chosenBy(facts)),
    todo: steps(
      `${setting('proxy', 'username = …')}, and password_file = … beside it`,
      isWrong
        ? 'An account that is locked after wrong passwords looks the same: ask the administrators of the proxy.'
        : null,
      `If this machine may leave without it: ${proxySetting(facts, 'off = true')}`,
    ),
  };
}

function proxyRefused(call: Call, facts: WhyFacts): Explanation {
  const { error = '' } = call;
  const proxy = proxyIn(call);
  const [, host, status] = /refused a tunnel to (\S+) (?:with status (\d+)|\(\w+\))/.exec(error) ?? [];
  const text = sentences(said(call, 'the corporate proxy refused the tunnel'), chosenBy(facts));
  if (host !== undefined)
    return {
      title: `the corporate proxy ${proxy} opens no tunnel to ${host}${status === undefined ? '' : ` (${status})`}`,
      text,
      todo: steps(
        `Ask the administrators of the proxy to allow CONNECT to ${host}, and to the login server of the region.`,
        `If another proxy is the right one: ${proxySetting(facts, 'url = http://PROXY:PORT')}`,
        `If this host needs none: ${setting('proxy', `no_proxy = ${host.replace(/:\d+$/, '')}`)}`,
      ),
    };
  if (/PAC file/.test(error))
    return {
      title: 'the PAC file that names the proxy cannot be used',
      text,
      todo: steps(proxySetting(facts, 'url = pac+http://…'), DOCTOR),
    };
  return {
    title: `the corporate proxy ${proxy} cannot be used`,
    text,
    todo: steps(
      `Check its name, port and scheme: ${proxySetting(facts, 'url = http://PROXY:PORT')}`,
      `If this machine may leave without a proxy: ${setting('proxy', 'off = true')}`,
      DOCTOR,
    ),
  };
}

function proxyTimeout(call: Call, facts: WhyFacts): Explanation {
  return {
    title: `the corporate proxy ${proxyIn(call)} took too long to open a tunnel`,
    text: sentences(said(call, 'the proxy did not open the tunnel in time'), chosenBy(facts), tries(call)),
    todo: steps(
      DOCTOR,
      `If the proxy is just slow: ${setting('timeouts', `connect = ${twice(facts.settings?.connectMs)}`)} (seconds)`,
      'If it does not answer at all, ask its administrators, and check the firewall on the way to it.',
    ),
  };
}

function untrusted(call: Call, { wayOut }: WhyFacts): Explanation {
  const { error = '' } = call;
  const issuer = /issuer ((?:CN|O)=[^:;]+)/.exec(error)?.[1]?.trim();
  const isUntrusted = error.includes('is not trusted');
  if (isUntrusted)
    return {
      title:
        `the certificate that came in place of Genesys Cloud's is not ` +
        `trusted${issuer === undefined ? '' : ` (issuer ${issuer})`}`,
      text: sentences(
        said(call, "the region's certificate is not trusted"),
        'An issuer from your own company means that a proxy or firewall inspects TLS.',
        way(wayOut),
      ),
      todo: steps(
        `If so, have the certificate of that issuer as a PEM file: ` +
          `${setting('tls', 'ca_file = /etc/ssl/company-ca.pem')}`,
        'Or ask for an exception: Genesys Cloud is not to be inspected.',
        'If the issuer is nobody you know, trust nothing and ask who answers there.',
      ),
    };
  return {
    title: 'no secure connection to Genesys Cloud could be made',
    text: sentences(said(call, 'the TLS connection failed'), way(wayOut)),
    todo: steps(
      /has expired|not valid yet/.test(error) ? "Check this machine's clock first." : null,
      /does not speak TLS/.test(error)
        ? `${setting('gateway', 'protocol = http')}, if it is to be plain http; else check host and port`
        : null,
      /client certificate/.test(error) ? `${setting('tls', 'cert_file = …')} and key_file = … beside it` : null,
      DOCTOR,
    ),
  };
}

function unreachable(call: Call, { wayOut }: WhyFacts): Explanation {
  const { error = '' } = call;
  if (call.status !== 0 && call.status < 400) return cutOff(call, wayOut);
  const host = /^(?:the name |the connection to )?(?:https?:\/\/)?([\w.[\]:-]+) /.exec(error)?.[1];
  const hasName = error.includes('cannot be resolved');
  return {
    title: hasName
      ? `the name ${host ?? 'of the region'} cannot be resolved on this machine`
      : `no connection to ${host ?? 'Genesys Cloud'} lasted`,
    text: sentences(
      said(call, 'the connection was refused, reset, or its name not resolved'),
      way(wayOut),
      tries(call),
    ),
    todo: steps(
      hasName
        ? 'Check the region ([general] host) and the DNS of this machine.'
        : call.attempts === 0
          ? 'Nothing of the call was sent: send it again.'
          : again(call),
      wayOut?.via === 'direct' ? `If only a proxy may leave: ${setting('proxy', 'url = http://PROXY:PORT')}` : null,
      DOCTOR,
    ),
  };
}

/** The answer had begun: its advice is not that for a connection that could not be made. */
function cutOff(call: Call, wayOut: WhyFacts['wayOut']): Explanation {
  const { status, error, responseBytes } = call;
  return {
    title: 'the connection broke while the answer was on its way',
    text: sentences(
      `Genesys Cloud had answered ${status}, and ${size(responseBytes)} of the body had come.`,
      fault(call, 'the connection ended'),
      error === undefined ? null : 'The caller was cut off as well, so that it does not take a part for the whole.',
      wayOut === null || wayOut.via === 'direct' ? null : way(wayOut),
    ),
    todo: steps(
      isSafe(call) ? 'Send it again: what came is not whole.' : `With ${status} it was done. Read what it made.`,
      wayOut === null || wayOut.via === 'direct'
        ? 'If it happens again: a firewall or proxy on the way may end long or large answers. Ask for smaller pages.'
        : 'If it happens again: the proxy may end long or large answers. Ask for smaller pages.',
      DOCTOR,
    ),
  };
}

function late(call: Call, { settings }: WhyFacts): Explanation {
  const { error = '' } = call;
  if (error.includes('the caller stopped reading'))
    return {
      title: 'the caller did not read the answer',
      text: said(call, ''),
      todo: steps('Read answers as they come, or close the connection.'),
    };
  if (call.status !== 0 && call.status < 400)
    return {
      title: 'the answer stopped on its way',
      text: sentences(
        `Genesys Cloud had answered ${call.status}, ${size(call.responseBytes)} of the body had come, and then nothing.`,
        fault(call, 'the rest did not come in time'),
      ),
      todo: steps(
        isSafe(call) ? 'Send it again: what came is not whole.' : `With ${call.status} it was done. Read what it made.`,
        `If such answers just pause: ${setting('timeouts', 'body = …')} (seconds)`,
        DOCTOR,
      ),
    };
  const isConnecting = error.includes('did not accept the connection');
  return {
    title: isConnecting
      ? 'Genesys Cloud did not accept the connection in time'
      : 'Genesys Cloud did not answer in time',
    text: sentences(
      said(call, 'the region did not answer in time'),
      tries(call),
      call.upstreamMs > 0
        ? `${span(call.upstreamMs)} of ${span(call.durationMs)} were spent waiting for the platform.`
        : null,
    ),
    todo: isConnecting
      ? steps(
          DOCTOR,
          'A firewall that drops packets looks like this: ask whether this machine may leave, or only a proxy.',
        )
      : steps(
          'Ask for less at a time: a smaller page, a shorter interval, or an asynchronous job where the ' +
            'platform has one.',
          `If such calls just take long: ${setting('timeouts', `headers = ${twice(settings?.headersMs)}`)} (seconds)`,
          isSafe(call) ? null : `It may have been done all the same. ${again(call)}`,
        ),
  };
}

function heldOff(call: Call, { wayOut, settings }: WhyFacts): Explanation {
  if (/rate_limit\.connections/.test(call.error ?? ''))
    return {
      title: 'all connections that this client may have were in use',
      text: said(call, ''),
      todo: steps(
        'Make fewer calls at a time, and read their answers without pauses.',
        `If there is room: ` +
          `${setting('rate_limit', `connections = ${settings === null ? '…' : settings.connections * 2}`)}`,
      ),
    };
  return {
    title: 'Genesys Cloud could not be reached several times in a row',
    text: sentences(
      said(call, 'calls are held off until one gets through'),
      'Nothing of this call was sent.',
      way(wayOut),
    ),
    todo: steps(
      call.retryAfterMs === undefined
        ? 'Send it again later: the gateway tries by itself.'
        : `Send it again after ${span(call.retryAfterMs)}: the gateway tries by itself.`,
      DOCTOR,
    ),
  };
}

function notHttp(call: Call): Explanation {
  return {
    title: 'what answered in place of Genesys Cloud does not speak HTTP as it should',
    text: sentences(
      said(call, 'the answer is not valid HTTP'),
      'A middlebox, or a wrong host or port, is the usual reason.',
    ),
    todo: steps('Check [general] host, and [gateway] host, port and protocol.', DOCTOR),
  };
}

function auditUnavailable(call: Call): Explanation {
  return {
    title: 'the audit trail cannot be written, and changes are not made without it',
    text: said(call, 'the audit trail cannot be written'),
    todo: steps(
      'Make room on the disk of audit.file, or mend its permissions; the log says what failed.',
      `If changes must go on without it: ${setting('audit', 'on_failure = continue')}`,
    ),
  };
}

function draining(call: Call): Explanation {
  return {
    title: 'the gateway was shutting down',
    text: 'It takes no new calls then, and cuts what is not done after server.drain_timeout.',
    todo: steps(
      call.attempts === 0 ? 'Send it again once the gateway is back.' : again(call, ' once the gateway is back'),
      'If it ends while it is needed: look at who stopped it (systemctl status, kubectl describe pod).',
    ),
  };
}

function internal(call: Call): Explanation {
  return {
    title: 'the gateway itself failed',
    text: sentences(
      said(call, 'a fault of the gateway itself'),
      `The log has the cause under the request id ${call.requestId}.`,
    ),
    todo: steps(
      'Please report it with that id and the lines of the log round it.',
      'Send it again: other calls go on.',
    ),
  };
}

/** Twice as many seconds, for a setting. */
function twice(ms: number | undefined): string {
  return ms === undefined ? '…' : String(Math.ceil((2 * ms) / 1_000));
}
