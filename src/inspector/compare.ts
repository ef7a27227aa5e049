// Two calls side by side: what differs in how they ended, where their time went, what was asked and answered. Pure: the
// page shows it, the terminal tells it.

import { shapeOfBody } from './body-shape.ts';
import { CULPRIT_OF_CODE, culpritOf, hasFailed, WHO } from './culprit.ts';
import type { Call, CallAnswer, Stretch } from './wire.ts';

/** A call as it is compared: what the inspector answers for it. */
export type Side = Pick<CallAnswer, 'call' | 'why' | 'captured'>;

/** `gone`: only the first has it; `added`: only the second. */
export type Difference = 'same' | 'changed' | 'added' | 'gone';

/** One fact of both. Null: there is none. */
export interface ComparedRow {
  readonly name: string;
  readonly a: string | null;
  readonly b: string | null;
  readonly difference: Difference;
}

/** A phase of both, in ms; null for one that a call did not come to. */
export interface ComparedPhase {
  readonly name: string;
  readonly a: number | null;
  readonly b: number | null;
}

export interface Comparison {
  readonly outcome: readonly ComparedRow[];
  readonly phases: readonly ComparedPhase[];
  readonly query: readonly ComparedRow[];
  /** Null where they were not captured of both. */
  readonly requestHeaders: readonly ComparedRow[] | null;
  readonly responseHeaders: readonly ComparedRow[] | null;
  /** Fields of the bodies by their paths, and the kinds of their values; null where they were not captured of both. */
  readonly requestBody: readonly ComparedRow[] | null;
  readonly responseBody: readonly ComparedRow[] | null;
}

/** Compares two calls. Order counts nowhere: neither of headers, nor of parameters, nor of fields. */
export function compareCalls(a: Side, b: Side): Comparison {
  return {
    outcome: outcomeRows(a, b),
    phases: pairedPhases(phasesOf(a.call), phasesOf(b.call)),
    query: rowsOf(queryOf(a.call), queryOf(b.call)),
    requestHeaders: headerRows(a.captured?.requestHeaders, b.captured?.requestHeaders),
    responseHeaders: headerRows(a.captured?.responseHeaders, b.captured?.responseHeaders),
    requestBody: bodyRows(a.captured?.requestBody, b.captured?.requestBody),
    responseBody: bodyRows(a.captured?.responseBody, b.captured?.responseBody),
  };
}

/** The facts that differ between two calls, and those that are always shown. */
function outcomeRows(a: Side, b: Side): ComparedRow[] {
  const facts = FACTS.map(([name, of]) => row(name, of(a), of(b)));
  return facts.filter(({ name, difference }) => difference !== 'same' || ALWAYS.has(name));
}

const ALWAYS: ReadonlySet<string> = new Set(['status', 'failed by', 'took', 'answer']);

const FACTS: readonly (readonly [name: string, of: (side: Side) => string | null])[] = [
  ['status', ({ call }) => (call.status === 0 ? 'none' : String(call.status))],
  ['failed by', ({ call, why }) => culpritWords(call, why)],
  ['why', ({ why }) => why?.title ?? null],
  ['method', ({ call }) => call.method],
  ['path', ({ call }) => call.path.split('?')[0] ?? ''],
  ['code', ({ call }) => call.errorCode ?? call.platform?.code ?? null],
  ['message', ({ call }) => call.error ?? call.platform?.message ?? null],
  ['made by', ({ call }) => (call.source === 'upstream' ? 'Genesys Cloud' : 'this gateway')],
  ['took', ({ call }) => `${Math.round(call.durationMs)} ms`],
  ['tries', ({ call }) => [String(call.attempts), ...(call.retries ?? [])].join(', ')],
  ['client', ({ call }) => call.client ?? null],
  ['credential', ({ call }) => call.credential ?? null],
  ['token', ({ call }) => call.tokenFingerprint ?? null],
  ['rule', ({ call }) => call.rule ?? null],
  ['limit', ({ call }) => call.limit ?? call.heldBy ?? null],
  ['request', ({ call }) => `${call.requestBytes} bytes`],
  ['answer', ({ call }) => `${call.responseBytes} bytes`],
];

function culpritWords(call: Call, why: Side['why']): string | null {
  const who =
    why?.who ?? (hasFailed(call) ? (CULPRIT_OF_CODE[call.errorCode ?? ''] ?? culpritOf(call)) : culpritOf(call));
  return who === null ? null : WHO[who];
}

/** Where the time went, by phases in the order in which they come, summed over attempts. */
function phasesOf({ trace, queueMs, tokenWaitMs, upstreamMs, durationMs }: Call): Map<string, number> {
  const phases = new Map<string, number>();
  const add = (name: string, ms: number | undefined) => {
    if (ms !== undefined) phases.set(name, (phases.get(name) ?? 0) + ms);
  };
  if (trace === undefined) {
    add(PHASES.queue, queueMs);
    add(PHASES.token, tokenWaitMs);
    add(PHASES.upstream, upstreamMs);
    add(PHASES.rest, Math.max(0, durationMs - queueMs - tokenWaitMs - upstreamMs));
    return phases;
  }
  add(PHASES.rules, trace.rules);
  for (const { for: what, ms } of trace.waits as readonly (Stretch & { for: 'queue' | 'token' | 'pause' })[])
    add(PHASES[what], ms);
  for (const { pool, dial, send, wait, body } of trace.attempts) {
    add(PHASES.pool, pool);
    for (const step of ['dns', 'tcp', 'proxy', 'tls'] as const) add(PHASES[step], dial?.[step]);
    add(PHASES.send, send);
    add(PHASES.wait, wait);
    add(PHASES.body, body);
  }
  if (trace.stalled > 0) add(PHASES.stalled, trace.stalled);
  return phases;
}

/** The words for phases, in their order. */
const PHASES = {
  rules: 'rules of this gateway',
  queue: 'waiting for a limit',
  token: 'waiting for a token',
  pause: 'pause before another try',
  pool: 'waiting for a connection',
  dns: 'looking up the name',
  tcp: 'connecting',
  proxy: 'the corporate proxy',
  tls: 'TLS',
  send: 'sending',
  wait: 'waiting for the answer',
  body: 'reading the answer',
  stalled: 'the caller did not read',
  upstream: 'Genesys Cloud',
  rest: 'the rest',
} as const;

function pairedPhases(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): ComparedPhase[] {
  return Object.values(PHASES).flatMap((name): ComparedPhase[] =>
    a.has(name) || b.has(name) ? [{ name, a: a.get(name) ?? null, b: b.get(name) ?? null }] : [],
  );
}

type Named = readonly (readonly [name: string, value: string])[];

/** Raw, so that an odd escape is no less of a difference. */
function queryOf({ path }: Call): Named {
  const queryAt = path.indexOf('?');
  if (queryAt < 0) return [];
  return path
    .slice(queryAt + 1)
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const [name = '', value = ''] = part.split(/=(.*)/s);
      return [name, value] as const;
    });
}

/** Headers by name in any case; null where one of the calls has none that are known. */
function headerRows(a: Named | undefined, b: Named | undefined): ComparedRow[] | null {
  if (a === undefined || b === undefined) return null;
  const lower = (headers: Named) => headers.map(([name, value]) => [name.toLowerCase(), value] as const);
  return rowsOf(lower(a), lower(b));
}

/** The shapes of two bodies of JSON field by field; of others whether they are equal. */
function bodyRows(a: string | undefined, b: string | undefined): ComparedRow[] | null {
  if (a === undefined || b === undefined) return null;
  const [shapeA, shapeB] = [shapeOfBody(a), shapeOfBody(b)];
  if (shapeA === null || shapeB === null) {
    const kind = (body: string, shape: string | null) => (shape === null ? `${body.length} characters` : 'JSON');
    return [{ name: 'body', a: kind(a, shapeA), b: kind(b, shapeB), difference: a === b ? 'same' : 'changed' }];
  }
  return rowsOf(fieldsOf(JSON.parse(shapeA)), fieldsOf(JSON.parse(shapeB)));
}

/** Fields of a shape by their paths: `entities[].id`. */
function fieldsOf(shape: unknown, path = ''): Named {
  if (Array.isArray(shape)) {
    const [first, more] = shape as [unknown, unknown];
    const counted: Named = [[`${path}[]`, shape.length === 0 ? 'empty' : more === undefined ? '× 1' : String(more)]];
    return [...counted, ...(shape.length === 0 ? [] : fieldsOf(first, `${path}[]`))];
  }
  if (typeof shape !== 'object' || shape === null) return [[path === '' ? 'body' : path, String(shape)]];
  return Object.entries(shape).flatMap(([name, value]) => fieldsOf(value, path === '' ? name : `${path}.${name}`));
}

/** By name; several values of one name are one row, in their order. */
function rowsOf(a: Named, b: Named): ComparedRow[] {
  const [inA, inB] = [byName(a), byName(b)];
  return [...new Set([...inA.keys(), ...inB.keys()])]
    .sort()
    .map((name) => row(name, inA.get(name)?.join(', ') ?? null, inB.get(name)?.join(', ') ?? null));
}

function byName(all: Named): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [name, value] of all) found.set(name, [...(found.get(name) ?? []), value]);
  return found;
}

function row(name: string, a: string | null, b: string | null): ComparedRow {
  const difference = a === b ? 'same' : a === null ? 'added' : b === null ? 'gone' : 'changed';
  return { name, a, b, difference };
}

/** The last call before `call` of the same method and route that went well; undefined where there is none. */
export function lastGoodOf(call: Call, calls: readonly Call[]): Call | undefined {
  let found: Call | undefined;
  for (const one of calls)
    if (one.seq < call.seq && one.route === call.route && one.method === call.method && !hasFailed(one))
      if (found === undefined || one.seq > found.seq) found = one;
  return found;
}

/** The calls that repeat a call, and the one that it repeats, the newest first. */
export function repeatsOf({ requestId, replayOf }: Call, calls: readonly Call[]): Call[] {
  return calls.filter((one) => one.replayOf === requestId || one.requestId === replayOf).sort((a, b) => b.seq - a.seq);
}
