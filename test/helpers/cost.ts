// Searches for input that costs more than its length: units of text, repeated, through everything that reads what a
// stranger sends. It measures the CPU time of this process, which a busy machine does not change, and compares two
// lengths: no figure of one machine is in it.

import { gzipSync } from 'node:zlib';
import { createRules } from '../../src/auth/callers/access.ts';
import type { Clients } from '../../src/auth/callers/clients.ts';
import { parseAuthorization } from '../../src/auth/callers/clients.ts';
import { createBodyCapture } from '../../src/logging/body-capture.ts';
import { createExchangeRecord } from '../../src/logging/exchange-record.ts';
import { exchangeLine, exchangeText, recordText } from '../../src/logging/format.ts';
import { createLiveSecrets } from '../../src/logging/redact/live-secrets.ts';
import { redactHeader, redactHeaders, redactParams, redactTarget } from '../../src/logging/redact/redact.ts';
import { redactText } from '../../src/logging/redact/text.ts';
import { redactError, redactValue } from '../../src/logging/redact/value.ts';
import { permissionsIn } from '../../src/operations/explain.ts';
import { identifyOperation } from '../../src/operations/table.ts';
import { createBoundaryRules, isAllowedHost, isOwnOrigin } from '../../src/server/admission.ts';
import { asksForOtherMethod } from '../../src/server/authorize.ts';
import { TrustedProxies } from '../../src/server/connection.ts';
import { noteTraceContext } from '../../src/server/exchange.ts';
import { assertFraming } from '../../src/server/framing.ts';
import { cleanRequestHeaders, createOwnHeaders, rewriteLocation } from '../../src/server/headers.ts';
import { readTokenRequest } from '../../src/server/oauth/grants.ts';
import { facadeLocation, type RedirectRules } from '../../src/server/oauth/routes.ts';
import { parseTarget } from '../../src/server/request-target.ts';
import { readBinding } from '../../src/server/routes/login.ts';
import { replaceConnectUris, socketBase } from '../../src/server/websocket/channel-responses.ts';
import { configAt, credentialAt } from './gateway.ts';

/** What patterns of ours begin with, go on with or end at; each kind of reading trips over another. */
export const ATOMS: readonly string[] = [
  ...[
    'a',
    ' ',
    ':',
    '=',
    '"',
    '\\',
    '%',
    '%25',
    '%3D',
    '%2F',
    '[',
    ']',
    '{',
    '}',
    '<',
    '</',
    '/',
    '//',
    '.',
    ';',
    '&',
    ',',
    '?',
    '@',
    '_',
    '+',
  ],
  ...[
    '://',
    'http://a:',
    '<password>',
    'eyJaaaaaaaa.',
    'gcgh_',
    'bearer ',
    'channels/',
    'streaming-1-',
    'token',
    'state',
    'state=',
    'token="',
    'code:"a',
  ],
  ...['\\u0061', '\\n', '%61', 'auth', 'cookie:', '\ufffd', '\u0130', '\n', '/-/', 'api/v2/'],
];

/** Each atom, and each pair. */
export function* unitsOf(atoms: readonly string[]): Generator<string> {
  for (const first of atoms) {
    yield first;
    for (const second of atoms) if (first !== second) yield first + second;
  }
}

/** Units that once were quadratic: a name that ends like another, runs of backslashes before and behind something. */
export const ONCE_COSTLY: readonly string[] = ['xstate=', 'tokenstate=', 'state=eyJaaaaaaaa.', '\\a', 'a\\\\', ':/'];

/** Whatever takes text of a stranger. */
export type Entry = (text: string) => unknown;

const SECRETS = createLiveSecrets();
for (const value of [
  'a-secret-of-the-configuration',
  'aaaaaaaaaaaaaaab',
  'token="token="state=state=',
  `${'\\'.repeat(12)}x`,
])
  SECRETS.add(value);

const detail = { requestHeaders: true, responseHeaders: true, bodies: true, mask: SECRETS.mask };
const AT = '2026-11-24T12:00:00.000Z';

const capture =
  (contentType: string, maxBytes = 1 << 20, contentEncoding: string | null = null): Entry =>
  (text) => {
    const body = createBodyCapture({ maxBytes, contentType, contentEncoding });
    body.write(contentEncoding === null ? Buffer.from(text) : gzipSync(text));
    return body.render();
  };
const record = (text: string) =>
  Object.assign(createExchangeRecord(), {
    method: 'GET',
    target: `/${text}?${text}`,
    correlationId: text,
    requestHeaders: ['Referer', text, text, text],
  });
const rules = createRules({
  allow: ['GET /api/v2/users/**', 'POST /a/*/a/*'],
  deny: ['* /api/v2/*/secret', '* /a/**'],
});
const boundary = createBoundaryRules({
  allowedHosts: ['gateway.example'],
  corsOrigins: ['https://app.example'],
  publicUrl: 'https://public.example',
});
const trustedProxies = new TrustedProxies(['10.0.0.0/8', '127.0.0.1']);
const own = createOwnHeaders([['X-Own', '1']]);
const upstream = configAt('http://127.0.0.1:1');
const noClients = { get: () => undefined } as unknown as Clients;
const redirects: RedirectRules = {
  access: {} as never,
  clients: noClients,
  config: upstream,
  credentials: { get: () => ({ config: credentialAt('http://127.0.0.1:1') }) as never, list: () => [] },
  placeholderCredential: credentialAt('http://127.0.0.1:1'),
};
const quietly =
  (entry: Entry): Entry =>
  (text) => {
    try {
      return entry(text);
    } catch (error) {
      return error;
    }
  };
const request = (more: object) =>
  ({
    method: 'GET',
    url: '/',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    rawHeaders: [],
    headers: {},
    ...more,
  }) as never;

/** Redaction, rules, route templates, and what the server itself reads. */
export const ENTRIES: Readonly<Record<string, Entry>> = {
  text: redactText,
  'path of a target': (text) => redactTarget(`/${text}`),
  'path behind channels': (text) => redactTarget(`/channels/${text}`),
  'query of a target': (text) => redactTarget(`/x?${text}`),
  'value in a query': (text) => redactTarget(`/x?a=${text}`),
  'name in a query': (text) => redactTarget(`/x?${text}=1`),
  'escaped name in a query': (text) => redactTarget(`/x?%61${text}=1`),
  fragment: (text) => redactTarget(`/x#${text}`),
  parameters: redactParams,
  'header value': (text) => redactHeader('X-Any', text),
  'header that is a URL': (text) => redactHeader('Referer', text),
  'header name': (text) => redactHeader(text, 'value'),
  'headers, many': (text) => redactHeaders((text.match(/[\s\S]{1,8}/g) ?? []).flatMap((part) => ['a', part])),
  'value in a field': (text) => redactValue({ a: text, token: text }),
  'name of a field': (text) => redactValue({ [text]: 'value' }),
  'label of a field': (text) => redactValue({ name: text, value: text }),
  'string that holds JSON': (text) => redactValue(`{"a":"${text}`),
  'message of an error': (text) => redactError(new Error(text)),
  'body of JSON': (text) =>
    capture('application/json')(JSON.stringify({ a: text, [text]: text, b: JSON.stringify({ c: text }) })),
  'body that claims to be JSON': capture('application/json'),
  'body of JSON, cut': (text) => capture('application/json', Math.floor(text.length / 2))(`{"a":["${text}"`),
  'body of a form': capture('application/x-www-form-urlencoded'),
  'body of a form, cut': (text) => capture('application/x-www-form-urlencoded', Math.floor(text.length / 2))(text),
  'body of text': capture('text/plain'),
  'body of text, cut': (text) => capture('text/plain', Math.floor(text.length / 2))(text),
  'body, compressed': capture('text/plain', 1 << 20, 'gzip'),
  'content type and encoding': (text) =>
    createBodyCapture({ maxBytes: 9, contentType: text, contentEncoding: text }).render(),
  'mask of exact values': SECRETS.mask,
  'record as JSON': (text) => exchangeLine(record(text), 'info', AT, detail),
  'record as text': (text) => exchangeText(record(text), 'info', AT, detail, false),
  'field of a record as text': (text) => recordText({ a: text }, 'msg', 'info', AT, false),
  'rules on a path': (text) => rules?.judge('GET', `/api/v2/${text}`),
  'rules on a bare path': (text) => rules?.judge('GET', `/${text}`),
  'template of a route': (text) => identifyOperation('GET', `/api/v2/${text}`),
  'template of a bare path': (text) => identifyOperation('GET', `/${text}`),
  'permissions in a refusal': permissionsIn,
  target: quietly((text) => parseTarget(`/${text}`)),
  'framing, absolute form': quietly((text) =>
    assertFraming(request({ url: `http://${text}`, rawHeaders: ['Host', text] })),
  ),
  host: (text) => isAllowedHost(text, boundary),
  origin: (text) => isOwnOrigin({ host: text, origin: text, fetchSite: text, isEncrypted: false }, boundary),
  authorization: (text) => [
    parseAuthorization(text),
    parseAuthorization(`Basic ${text}`),
    parseAuthorization(`Bearer ${text}`),
  ],
  cookie: readBinding,
  'forwarded for': (text) =>
    trustedProxies.peerOf(request({ socket: { remoteAddress: '127.0.0.1' }, headers: { 'x-forwarded-for': text } })),
  'headers to send on': (text) =>
    cleanRequestHeaders(['Connection', text, text, text, 'X-Gateway-Instance', text], own),
  'method override': (text) => asksForOtherMethod({ [text]: text }, `/x?${text}`),
  'trace context': (text) =>
    noteTraceContext(createExchangeRecord(), `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01-${text}`),
  'query of a login': quietly((text) => facadeLocation('/oauth/authorize', text, null, redirects)),
  'form of a token request': quietly((text) =>
    readTokenRequest(`application/x-www-form-urlencoded${text}`, text, `Basic ${text}`),
  ),
  'form type': quietly((text) => readTokenRequest(text, 'grant_type=a', undefined)),
  'redirect of the upstream': (text) => [
    rewriteLocation(text, upstream.general.hosts.api, ''),
    rewriteLocation(`/${text}`, upstream.general.hosts.api, '/a'),
  ],
  'channel in an answer': (text) =>
    replaceConnectUris(
      Buffer.from(JSON.stringify({ connectUri: text, [text]: text, b: text })),
      (channel) => `x${channel.connectUri}`,
    ),
  'address of a socket': (text) => socketBase(null, `${text}x`, false),
};

/** One that costs more than its length: with a length of four times, more than `MOST_GROWTH` times the CPU. */
export interface CostlyInput {
  readonly entry: string;
  readonly unit: string;
  /** CPU in ms for the short and the long text. */
  readonly shortMs: number;
  readonly longMs: number;
}

const SHORT = 2048;
const LONG = 4 * SHORT;
/** Linear is 4, quadratic 16. */
const MOST_GROWTH = 9;
/** The same for a length of twice: linear is 2, quadratic 4. */
const MOST_GROWTH_OF_TWICE = 3;
/** Below it growth is noise, and nobody is kept waiting: a quadratic cost reaches it at a few ns an octet. */
const WORTH_A_LOOK_MS = 2;

/** All findings of these units in these entries. Each is measured again before it is believed. */
export function searchCosts(entries: Readonly<Record<string, Entry>>, units: Iterable<string>): CostlyInput[] {
  const found: CostlyInput[] = [];
  for (const unit of units) {
    const long = unit.repeat(Math.ceil(LONG / unit.length));
    const short = unit.repeat(Math.ceil(SHORT / unit.length));
    for (const [entry, read] of Object.entries(entries)) {
      if (cpuMs(() => read(long)) < WORTH_A_LOOK_MS) continue;
      const longMs = leastOf(3, read, long);
      const shortMs = leastOf(5, read, short);
      if (longMs < WORTH_A_LOOK_MS || longMs <= MOST_GROWTH * Math.max(shortMs, 0.05)) continue;
      // A collection of garbage may fall into all three; what costs more than its length does so at the next length,
      // too.
      const settledMs = leastOf(10, read, long);
      if (settledMs >= WORTH_A_LOOK_MS && leastOf(10, read, long.repeat(2)) > MOST_GROWTH_OF_TWICE * settledMs)
        found.push({ entry, unit, shortMs, longMs });
    }
  }
  return found;
}

function leastOf(times: number, read: Entry, text: string): number {
  let least = Number.POSITIVE_INFINITY;
  for (let time = 0; time < times; time++)
    least = Math.min(
      least,
      cpuMs(() => read(text)),
    );
  return least;
}

/** The CPU time of `work` in this process, ms: unlike the time that passes, no other process makes it longer. */
function cpuMs(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
