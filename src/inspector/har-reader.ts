// Reads an HTTP Archive that somebody was sent: ours with all that it says, anybody's as far as it goes. The text may be
// anything: only what is of the kind that it should be is taken, and bounded. Pure; the page uses it.

import type { Attempt, Call, CallAnswer, CallTrace, Culprit, Why } from './wire.ts';

/** One call of a file. */
export interface FileCall {
  readonly call: Call;
  readonly why: Why | null;
  readonly captured?: CallAnswer['captured'];
}

/** What a file says. */
export interface HarFile {
  /** The oldest first, as they stand in it. */
  readonly calls: readonly FileCall[];
  /** Entries that were not read: the file has too many, or they are none. */
  readonly skipped: number;
  /** The program that made it, and its version. */
  readonly creator: string;
  /** What it says of itself; empty where it says nothing. */
  readonly comment: string;
  /** What was done about secrets; null in a file that no gateway made. */
  readonly redaction: {
    readonly scope: string;
    readonly bodies: string;
    readonly scanner: string;
    readonly replaced: number;
    readonly distinct: number;
  } | null;
  readonly filter: string | null;
  /** Settings that touch the call of a file of one. */
  readonly settings: readonly (readonly [key: string, value: string])[];
}

/** The text is no archive; the message says why, for the person who chose it. */
export class HarError extends Error {
  override readonly name = 'HarError';
}

const LARGEST_TEXT = 64 * 1024 * 1024;
const MOST_ENTRIES = 10_000;
const MOST_HEADERS = 200;
const LONGEST_LINE = 16 * 1024;
const LONGEST_BODY = 256 * 1024;
const MOST_PARTS = 100;

/** Throws HarError. */
export function readHar(text: string): HarFile {
  if (text.length > LARGEST_TEXT) throw new HarError(`the file is larger than ${LARGEST_TEXT / 1024 / 1024} MiB`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch {
    throw new HarError('the file is not JSON, so it is no HTTP Archive');
  }
  const log = objectIn(parsed, 'log');
  const entries = log === null ? null : own(log, 'entries');
  if (log === null || !Array.isArray(entries)) throw new HarError('the file has no log.entries: it is no HTTP Archive');
  const calls: FileCall[] = [];
  for (const entry of entries.slice(0, MOST_ENTRIES)) {
    const call = fileCall(entry, calls.length + 1);
    if (call !== null) calls.push(call);
  }
  const about = objectIn(log, '_gcg');
  const redaction = objectIn(about, 'redaction');
  const creator = objectIn(log, 'creator');
  return {
    calls,
    skipped: entries.length - calls.length,
    creator: `${textIn(creator, 'name') ?? ''} ${textIn(creator, 'version') ?? ''}`.trim(),
    comment: textIn(log, 'comment') ?? '',
    redaction: redaction && {
      scope: textIn(redaction, 'scope') ?? '',
      bodies: textIn(redaction, 'bodies') ?? '',
      scanner: textIn(redaction, 'scanner') ?? '',
      replaced: numberIn(redaction, 'replaced') ?? 0,
      distinct: numberIn(redaction, 'distinct') ?? 0,
    },
    filter: textIn(about, 'filter') ?? null,
    settings: settingsIn(objectIn(about, 'settings')),
  };
}

type Plain = Readonly<Record<string, unknown>>;

/** A property of its own; names like `__proto__` are nothing else. */
function own(object: Plain, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function objectIn(value: unknown, name: string): Plain | null {
  const found = isPlain(value) ? own(value, name) : null;
  return isPlain(found) ? found : null;
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textIn(object: Plain | null, name: string, longest = LONGEST_LINE): string | undefined {
  const value = object && own(object, name);
  return typeof value === 'string' ? value.slice(0, longest) : undefined;
}

/** Not negative, and finite. */
function numberIn(object: Plain | null, name: string): number | undefined {
  const value = object && own(object, name);
  return typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}

function listIn(object: Plain | null, name: string): readonly unknown[] {
  const value = object && own(object, name);
  return Array.isArray(value) ? value.slice(0, MOST_PARTS) : [];
}

function textsIn(object: Plain | null, name: string): string[] {
  return listIn(object, name).flatMap((item) => (typeof item === 'string' ? [item.slice(0, LONGEST_LINE)] : []));
}

/** Without what is undefined, so that a property that is there has a value. */
function defined<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

function fileCall(entry: unknown, seq: number): FileCall | null {
  const request = objectIn(entry, 'request');
  if (!isPlain(entry) || request === null) return null;
  const response = objectIn(entry, 'response');
  const about = objectIn(entry, '_gcg');
  const captured = capturedIn(request, response);
  return {
    call: { ...standardCall(entry, request, response, seq), ...gatewayFields(about), ...traced(entry, about), seq },
    why: whyIn(objectIn(about, 'why')),
    ...(captured !== undefined && { captured }),
  };
}

/** What every archive says of a call. */
function standardCall(entry: Plain, request: Plain, response: Plain | null, seq: number): Call {
  const startedAt = Date.parse(textIn(entry, 'startedDateTime') ?? '');
  const durationMs = numberIn(entry, 'time') ?? 0;
  const endedAt = Number.isFinite(startedAt) ? startedAt + durationMs : 0;
  const path = pathOf(textIn(request, 'url') ?? '');
  const status = numberIn(response, 'status') ?? 0;
  return {
    seq,
    level: status >= 500 ? 'error' : 'info',
    time: new Date(Math.min(endedAt, LAST_DATE)).toISOString(),
    requestId: `entry-${seq}`,
    method: textIn(request, 'method', 32) ?? '',
    path,
    route: (path.split('?')[0] ?? '').slice(0, 200),
    status,
    durationMs,
    upstreamMs: numberIn(objectIn(entry, 'timings'), 'wait') ?? 0,
    tokenWaitMs: numberIn(objectIn(entry, 'timings'), '_token') ?? 0,
    queueMs: numberIn(objectIn(entry, 'timings'), '_queue') ?? 0,
    attempts: 1,
    requestBytes: numberIn(request, 'bodySize') ?? 0,
    responseBytes: numberIn(objectIn(response, 'content'), 'size') ?? 0,
    source: 'upstream',
  };
}

const LAST_DATE = Date.UTC(9999, 11, 31);

/** Path and query of a URL, as they are written. */
function pathOf(url: string): string {
  return url.replace(/^[a-z][\w+.-]*:\/\/[^/?#]*/i, '').replace(/#.*$/s, '') || '/';
}

const TEXTS = [
  ...['level', 'requestId', 'client', 'credential', 'method', 'path', 'route', 'correlationId', 'tokenFingerprint'],
  ...['userAgent', 'errorCode', 'error', 'rule', 'operation', 'explanation', 'heldBy', 'traceId', 'spanId'],
  ...['replayOf', 'replayedBy'],
] as const;
const NUMBERS = [
  ...['status', 'durationMs', 'upstreamMs', 'tokenWaitMs', 'queueMs', 'attempts', 'requestBytes', 'responseBytes'],
  'closeCode',
] as const;
const FLAGS = ['authorizationReplaced', 'aborted'] as const;

/** What our own files say beyond it: the fields of the call's record. */
function gatewayFields(about: Plain | null): Partial<Call> {
  if (about === null) return {};
  const fields: Record<string, unknown> = {};
  for (const name of TEXTS) fields[name] = textIn(about, name);
  for (const name of NUMBERS) fields[name] = numberIn(about, name);
  for (const name of FLAGS) fields[name] = own(about, name) === true ? true : undefined;
  const time = Date.parse(textIn(about, 'time') ?? '');
  if (Number.isFinite(time)) fields.time = new Date(Math.min(time, LAST_DATE)).toISOString();
  const source = own(about, 'source');
  if (source === 'gateway' || source === 'upstream') fields.source = source;
  const retries = textsIn(about, 'retries');
  if (retries.length > 0) fields.retries = retries;
  const platform = objectIn(about, 'platform');
  if (platform !== null)
    fields.platform = defined({ code: textIn(platform, 'code'), message: textIn(platform, 'message') });
  return defined(fields);
}

function traced(entry: Plain, about: Plain | null): { trace?: CallTrace } {
  const trace = objectIn(about, 'trace');
  if (trace === null) return {};
  const waits = listIn(trace, 'waits').flatMap((wait) => {
    const what = isPlain(wait) ? own(wait, 'for') : undefined;
    if (!isPlain(wait) || (what !== 'queue' && what !== 'token' && what !== 'pause')) return [];
    return [{ for: what, at: numberIn(wait, 'at') ?? 0, ms: numberIn(wait, 'ms') ?? 0 } as const];
  });
  const attempts = listIn(entry, '_attempts').flatMap((attempt) => (isPlain(attempt) ? [attemptIn(attempt)] : []));
  const [rules = 0, stalled = 0] = [numberIn(trace, 'rules'), numberIn(trace, 'stalled')];
  return { trace: { rules, stalled, waits, attempts } };
}

function attemptIn(attempt: Plain): Attempt {
  const dial = objectIn(attempt, 'dial');
  const number = (name: string) => numberIn(attempt, name);
  return defined<Attempt>({
    at: number('at') ?? 0,
    ms: number('ms') ?? 0,
    pool: number('pool'),
    dial: dial
      ? defined<NonNullable<Attempt['dial']>>({
          dns: numberIn(dial, 'dns'),
          tcp: numberIn(dial, 'tcp'),
          proxy: numberIn(dial, 'proxy'),
          tls: numberIn(dial, 'tls'),
        })
      : undefined,
    age: number('age'),
    idle: number('idle'),
    send: number('send'),
    wait: number('wait'),
    body: number('body'),
    status: number('status'),
    error: textIn(attempt, 'error', 256),
    retryAfter: number('retryAfter'),
  });
}

const CULPRITS: ReadonlySet<string> = new Set<Culprit>([
  ...(['caller', 'rule', 'token', 'limit', 'proxy', 'network', 'platform', 'gateway', 'reader'] as const),
]);

function whyIn(why: Plain | null): Why | null {
  const who = textIn(why, 'who');
  const title = textIn(why, 'title');
  if (who === undefined || title === undefined || !CULPRITS.has(who)) return null;
  return { who: who as Culprit, title, text: textIn(why, 'text') ?? '', todo: textsIn(why, 'todo') };
}

function capturedIn(request: Plain, response: Plain | null): CallAnswer['captured'] | undefined {
  const received = pairsIn(request, '_received');
  const sent = pairsIn(request, 'headers');
  const captured = defined<NonNullable<CallAnswer['captured']>>({
    requestHeaders: received ?? sent,
    sentHeaders: received && sent,
    responseHeaders: pairsIn(response, 'headers'),
    requestBody: textIn(objectIn(request, 'postData'), 'text', LONGEST_BODY),
    responseBody: textIn(objectIn(response, 'content'), 'text', LONGEST_BODY),
  });
  return Object.keys(captured).length === 0 ? undefined : captured;
}

/** Headers; undefined where there are none. */
function pairsIn(message: Plain | null, name: string): [name: string, value: string][] | undefined {
  const value = message && own(message, name);
  if (!Array.isArray(value)) return undefined;
  const pairs = value.slice(0, MOST_HEADERS).flatMap((header): [string, string][] => {
    const [title, text] = isPlain(header) ? [textIn(header, 'name', 256), textIn(header, 'value')] : [];
    return title === undefined || text === undefined ? [] : [[title, text]];
  });
  return pairs.length === 0 ? undefined : pairs;
}

function settingsIn(settings: Plain | null): [string, string][] {
  return Object.entries(settings ?? {})
    .slice(0, MOST_PARTS)
    .flatMap(([key, value]) =>
      typeof value === 'object' && value !== null ? [] : [[key.slice(0, 128), String(value).slice(0, 256)]],
    );
}
