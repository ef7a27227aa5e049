// One call as an entry of an HTTP Archive (HAR 1.2, http://www.softwareishard.com/blog/har-12-spec/), and the archive
// round entries. Pure: it masks nothing, and is given what is masked.

import { shapeOfBody } from './body-shape.ts';
import type { Attempt, Call, CallAnswer, Why } from './wire.ts';

/** What of bodies is written: nothing, their shapes, or all that was captured. */
export type HarBodies = 'none' | 'shape' | 'full';

/** A call with what is known beside its record. */
export interface HarCall {
  readonly call: Call;
  readonly captured?: CallAnswer['captured'] | undefined;
  readonly why?: Why | null | undefined;
  /** The origin that it went to, or was for: `https://api.mypurecloud.com`. */
  readonly origin: string;
}

type Pairs = readonly (readonly [name: string, value: string])[];

/** The entry of a call. What would tell who called from where (address, person) is left out. */
export function harEntry({ call, captured, why, origin }: HarCall, bodies: HarBodies): HarEntry {
  const timings = harTimings(call);
  const { requestHeaders = [], sentHeaders, responseHeaders = [] } = captured ?? {};
  const type = headerOf(responseHeaders, 'content-type');
  const body = (text: string | undefined, mimeType: string) =>
    text === undefined || text === '' || bodies === 'none' ? undefined : bodyText(text, mimeType, bodies);
  const sent = body(captured?.requestBody, headerOf(requestHeaders, 'content-type'));
  const got = body(captured?.responseBody, type);
  return {
    startedDateTime: new Date(startOf(call)).toISOString(),
    time: timings.time,
    request: {
      method: call.method,
      // As it went on: without the name of the credential that may stand before it.
      url: origin + call.path.replace(/^\/[^/?]+(?=\/api\/v2\/)/, ''),
      httpVersion: 'HTTP/1.1',
      cookies: [],
      headers: named(sentHeaders ?? requestHeaders),
      queryString: queryOf(call.path),
      headersSize: -1,
      bodySize: call.requestBytes,
      ...(sent !== undefined && {
        postData: { mimeType: headerOf(requestHeaders, 'content-type'), params: [], text: sent },
      }),
      ...(sentHeaders !== undefined && { _received: named(requestHeaders) }),
    },
    response: {
      status: call.status,
      statusText: '',
      httpVersion: 'HTTP/1.1',
      cookies: [],
      headers: named(responseHeaders),
      content: {
        size: call.responseBytes,
        mimeType: type === '' ? 'x-unknown' : type,
        ...(got !== undefined && { text: got }),
      },
      redirectURL: headerOf(responseHeaders, 'location'),
      headersSize: -1,
      bodySize: call.responseBytes,
      ...(call.error !== undefined && { comment: call.error }),
    },
    cache: {},
    timings: timings.timings,
    _attempts: call.trace?.attempts ?? [],
    _gcg: { ...shownCall(call), ...(why != null && { why }) },
  };
}

/** An entry, as far as its readers here look at it. */
export interface HarEntry {
  readonly startedDateTime: string;
  readonly time: number;
  readonly request: object;
  readonly response: object;
  readonly cache: object;
  readonly timings: HarTimings;
  readonly _attempts: readonly Attempt[];
  readonly _gcg: object;
}

/** Phases in ms: -1 for one that there was not; `connect` has `ssl` in it. Those with an underscore are parts. */
export interface HarTimings {
  readonly blocked: number;
  readonly dns: number;
  readonly connect: number;
  readonly ssl: number;
  readonly send: number;
  readonly wait: number;
  readonly receive: number;
  readonly _queue: number;
  readonly _token: number;
  readonly _pause: number;
  readonly _proxyConnect: number;
  readonly _readerStall: number;
}

/**
 * The phases of a call, those of its last attempt; what came before it is `blocked`. All are whole hundredths of a ms,
 * so that they add up: `time` is their sum, without `ssl`, which is a part of `connect`.
 */
export function harTimings(call: Call): { readonly time: number; readonly timings: HarTimings } {
  const whole = hundredths(call.durationMs);
  let left = whole;
  const take = (ms: number | undefined): number => {
    const taken = Math.min(left, hundredths(ms ?? 0));
    left -= taken;
    return taken;
  };
  const { trace } = call;
  const last = trace?.attempts.at(-1);
  const waited = (kind: 'queue' | 'token' | 'pause') =>
    (trace?.waits ?? []).filter((wait) => wait.for === kind).reduce((sum, { ms }) => sum + hundredths(ms), 0);
  const dial = last?.dial;
  const blocked = last === undefined ? take(call.queueMs + call.tokenWaitMs) : take(last.at + (last.pool ?? 0));
  const dns = dial?.dns === undefined ? -1 : take(dial.dns);
  const [tcp, proxy, tls] = [take(dial?.tcp), take(dial?.proxy), take(dial?.tls)];
  const send = take(last?.send);
  const wait = last === undefined ? take(call.upstreamMs) : take(last.wait);
  const receive = left;
  return {
    time: whole / 100,
    timings: {
      blocked: blocked / 100,
      dns: dns < 0 ? -1 : dns / 100,
      connect: dial === undefined ? -1 : (tcp + proxy + tls) / 100,
      ssl: dial?.tls === undefined ? -1 : tls / 100,
      send: send / 100,
      wait: wait / 100,
      receive: receive / 100,
      _queue: (trace === undefined ? hundredths(call.queueMs) : waited('queue')) / 100,
      _token: hundredths(call.tokenWaitMs) / 100,
      _pause: waited('pause') / 100,
      _proxyConnect: dial?.proxy === undefined ? -1 : proxy / 100,
      _readerStall: trace === undefined ? -1 : hundredths(trace.stalled) / 100,
    },
  };
}

function hundredths(ms: number): number {
  return Number.isFinite(ms) ? Math.max(0, Math.round(ms * 100)) : 0;
}

/** The record's time is that of its end. */
function startOf({ time, durationMs }: Call): number {
  const end = Date.parse(time);
  return Number.isFinite(end) ? Math.max(0, end - Math.round(durationMs)) : 0;
}

/** The fields of the record that may leave: not who a person is, where a caller sits, or what its secret looks like. */
function shownCall(call: Call): object {
  const { peer: _, sessionUser: _user, secretFingerprint: _secret, claimedClient: _claimed, trace, ...shown } = call;
  return trace === undefined ? shown : { ...shown, trace: { ...trace, attempts: trace.attempts.length } };
}

function named(pairs: Pairs): { name: string; value: string }[] {
  return pairs.map(([name, value]) => ({ name, value }));
}

function headerOf(pairs: Pairs, wanted: string): string {
  return pairs.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? '';
}

function queryOf(path: string): { name: string; value: string }[] {
  const at = path.indexOf('?');
  if (at < 0) return [];
  return path
    .slice(at + 1)
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=');
      return equals < 0
        ? { name: decoded(part), value: '' }
        : { name: decoded(part.slice(0, equals)), value: decoded(part.slice(equals + 1)) };
    });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}

function bodyText(text: string, mimeType: string, bodies: HarBodies): string {
  if (bodies === 'full') return text;
  return shapeOfBody(text) ?? `[${mimeType === '' ? 'no content type' : mimeType}, ${text.length} characters]`;
}
