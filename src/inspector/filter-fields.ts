// The fields that a filter asks for, and how a value of each is read: one row a field. Pure: the server, the page and
// the terminal share it.

import { culpritOf, hasFailed, WHO } from './culprit.ts';
import { isLike, isPathLike } from './wildcard.ts';
import type { Call } from './wire.ts';

/** Whether a call has a value. `now` in epoch ms. */
export type CallTest = (call: Call, now: number) => boolean;

/** A value as it was written. `wild`: it has `*` outside of quotes. */
export interface FilterValue {
  readonly text: string;
  readonly wild: boolean;
}

/** One field of the language. */
export interface FilterField {
  /** What it means, for lists of fields. */
  readonly meaning: string;
  /** A term that is right, for messages. */
  readonly example: string;
  /** The test that a value stands for; null where it is none of this field's. */
  readonly testOf: (value: FilterValue) => CallTest | null;
  /** What a call has there, for suggestions; absent for fields of numbers and times. */
  readonly valuesIn?: (call: Call) => readonly (string | undefined)[];
}

type ValuesIn = (call: Call) => readonly (string | undefined)[];

/** Names: the whole value, in any case. */
function names(meaning: string, example: string, valuesIn: ValuesIn): FilterField {
  const testOf = ({ text, wild }: FilterValue): CallTest => {
    const wanted = text.toLowerCase();
    const isWanted = (value: string | undefined) =>
      value !== undefined && (wild ? isLike(wanted, value.toLowerCase()) : value.toLowerCase() === wanted);
    return (call) => valuesIn(call).some(isWanted);
  };
  return { meaning, example, testOf, valuesIn };
}

/** Ids: their beginning is enough. */
function ids(meaning: string, example: string, valueIn: (call: Call) => string | undefined): FilterField {
  const testOf = ({ text, wild }: FilterValue): CallTest => {
    const wanted = text.toLowerCase();
    return (call) => {
      const value = valueIn(call)?.toLowerCase();
      return value !== undefined && (wild ? isLike(wanted, value) : value.startsWith(wanted));
    };
  };
  return { meaning, example, testOf, valuesIn: (call) => [valueIn(call)] };
}

/** One of a few words. */
function words(
  meaning: string,
  example: string,
  known: readonly string[],
  valueIn: (call: Call) => string | null,
): FilterField {
  const testOf = ({ text }: FilterValue): CallTest | null => {
    const wanted = text.toLowerCase();
    return known.includes(wanted) ? (call) => valueIn(call) === wanted : null;
  };
  return { meaning, example, testOf, valuesIn: (call) => [valueIn(call) ?? undefined] };
}

/** `yes` or `no`. */
function flag(meaning: string, example: string, isSo: (call: Call) => boolean): FilterField {
  return words(meaning, example, ['yes', 'no'], (call) => (isSo(call) ? 'yes' : 'no'));
}

type Units = Readonly<Record<string, number>>;

const DURATIONS: Units = { '': 1, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const SIZES: Units = {
  '': 1,
  b: 1,
  k: 1_024,
  kb: 1_024,
  kib: 1_024,
  m: 2 ** 20,
  mb: 2 ** 20,
  mib: 2 ** 20,
  g: 2 ** 30,
};
const COUNT: Units = { '': 1 };

/** Numbers: `500`, `>500`, `<=2s`, `100..200`. */
function numbers(meaning: string, example: string, units: Units, valueIn: (call: Call) => number): FilterField {
  const testOf = ({ text }: FilterValue): CallTest | null => {
    const range = /^([^.]+(?:\.\d+[a-z]*)?)\.\.(.+)$/i.exec(text);
    if (range !== null) {
      const from = amount(range[1], units);
      const to = amount(range[2], units);
      return from === null || to === null ? null : (call) => valueIn(call) >= from && valueIn(call) <= to;
    }
    const [, sign = '', number] = /^(>=|<=|>|<|=)?(.*)$/s.exec(text) ?? [];
    const than = amount(number, units);
    if (than === null) return null;
    if (sign === '>') return (call) => valueIn(call) > than;
    if (sign === '>=') return (call) => valueIn(call) >= than;
    if (sign === '<') return (call) => valueIn(call) < than;
    if (sign === '<=') return (call) => valueIn(call) <= than;
    return (call) => valueIn(call) === than;
  };
  return { meaning, example, testOf };
}

function amount(text: string | undefined, units: Units): number | null {
  const [, number, unit] = /^(\d{1,12}(?:\.\d{1,6})?)([a-z]{0,3})$/i.exec(text ?? '') ?? [];
  if (number === undefined || unit === undefined) return null;
  const factor = Object.hasOwn(units, unit.toLowerCase()) ? units[unit.toLowerCase()] : undefined;
  return factor === undefined ? null : Number(number) * factor;
}

const STATUS_NUMBERS = numbers('', '', COUNT, (call) => call.status);

/** A status as numbers are, or a class of them: `4xx`. */
function statusTest(value: FilterValue): CallTest | null {
  const [, digit] = /^([1-5])xx$/i.exec(value.text) ?? [];
  if (digit === undefined) return STATUS_NUMBERS.testOf(value);
  return ({ status }) => Math.trunc(status / 100) === Number(digit);
}

/** The path with or without the beginning that all calls have; with the query only where the pattern has one. */
function pathTest({ text, wild }: FilterValue): CallTest {
  const wanted = text.toLowerCase();
  if (wanted.includes('?') || wanted.startsWith('*')) {
    const shownOf = wanted.includes('?') ? wholePath : pathOnly;
    return (call) => (wild ? isLike(wanted, shownOf(call)) : shownOf(call) === wanted);
  }
  const pieces = wanted.replace(/^\//, '').split('/', LONGEST_PATH);
  return (call) => {
    const called = pathOnly(call)
      .split('/', LONGEST_PATH + 1)
      .slice(1);
    const inApi = called[0] === 'api' && called[1] === 'v2' ? called.slice(2) : null;
    return isPathLike(pieces, called, wild) || (inApi !== null && isPathLike(pieces, inApi, wild));
  };
}

function wholePath({ path }: Call): string {
  return path.toLowerCase();
}

function pathOnly(call: Call): string {
  const [path = ''] = wholePath(call).split('?', 1);
  return path;
}

/** Pieces of a path that are compared; the platform's longest has a dozen. */
const LONGEST_PATH = 64;

/** A moment: a while ago (`5m`), or a time in UTC or with its zone. */
function moments(meaning: string, example: string, isOn: (called: number, moment: number) => boolean): FilterField {
  const testOf = ({ text }: FilterValue): CallTest | null => {
    const [, number, unit] = /^(\d{1,9})(s|m|h|d)$/i.exec(text) ?? [];
    if (number !== undefined && unit !== undefined) {
      const ago = Number(number) * (AGO[unit.toLowerCase()] as number);
      return (call, now) => isOn(Date.parse(call.time), now - ago);
    }
    const moment = TIME.test(text) ? Date.parse(text) : Number.NaN;
    return Number.isNaN(moment) ? null : (call) => isOn(Date.parse(call.time), moment);
  };
  return { meaning, example, testOf };
}

const AGO: Units = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/;

const CULPRITS = Object.keys(WHO);

/** Every field, by its name. */
export const FILTER_FIELDS: Readonly<Record<string, FilterField>> = {
  status: {
    meaning: 'the status it was answered with',
    example: 'status:404, status:4xx or status:>=500',
    testOf: statusTest,
    valuesIn: ({ status }) => [String(status)],
  },
  failed: flag('whether it failed', 'failed:yes', hasFailed),
  who: words('who or what it failed by, or was slow by', `who:${CULPRITS.join(', who:')}`, CULPRITS, culpritOf),
  method: names('its method', 'method:POST', ({ method }) => [method]),
  path: {
    meaning: 'its path; * stands for one piece, ** for the rest',
    example: 'path:/users/** or path:/api/v2/users/*/presences/*',
    testOf: pathTest,
    valuesIn: ({ path }) => path.split('?', 1),
  },
  route: names('the route that its path is of', 'route:"/api/v2/users/{userId}"', ({ route }) => [route]),
  op: names("the platform's name of the operation", 'op:getUser', ({ operation }) => [operation]),
  client: names('the client that made it', 'client:etl', ({ client }) => [client]),
  cred: names('the credential that served it', 'cred:crm', ({ credential }) => [credential]),
  user: names("the platform's user behind its session", 'user:4f…', ({ sessionUser }) => [sessionUser]),
  peer: names('the address it came from', 'peer:10.0.*', ({ peer }) => [peer]),
  agent: names('the program that made it', 'agent:python-requests*', ({ userAgent }) => [userAgent]),
  rule: names('the rule that refused it, or would have', 'rule:"GET /api/v2/users/**"', ({ rule }) => [rule]),
  code: names("the gateway's or the platform's code", 'code:gateway.rate.*', (call) => [
    call.errorCode,
    call.platform?.code,
  ]),
  ms: numbers('how long it took', 'ms:>500 or ms:>2s', DURATIONS, (call) => call.durationMs),
  upstream: numbers('how long the platform took', 'upstream:>500', DURATIONS, (call) => call.upstreamMs),
  queue: numbers('how long it waited for a limit', 'queue:>0', DURATIONS, (call) => call.queueMs),
  token: numbers('how long it waited for a token', 'token:>0', DURATIONS, (call) => call.tokenWaitMs),
  tries: numbers('how often it was sent', 'tries:>1', COUNT, (call) => call.attempts),
  bytes: numbers("the size of the answer's body", 'bytes:>1M', SIZES, (call) => call.responseBytes),
  sent: numbers("the size of the request's body", 'sent:>1M', SIZES, (call) => call.requestBytes),
  id: ids('its request id, or the beginning of it', 'id:9f3c', (call) => call.requestId),
  corr: ids("the platform's correlation id", 'corr:0e5a', (call) => call.correlationId),
  trace: ids('its trace id', 'trace:4bf9', (call) => call.traceId),
  fp: ids('the fingerprint of its token', 'fp:~0123', (call) => call.tokenFingerprint),
  aborted: flag('whether its caller left, or it was cut', 'aborted:yes', (call) => call.aborted === true),
  replay: flag('whether it repeats another one', 'replay:yes', (call) => call.replayOf !== undefined),
  since: moments('not before', 'since:5m or since:2026-11-28T14:00Z', (called, moment) => called >= moment),
  until: moments('not after', 'until:5m or until:2026-11-28T14:00Z', (called, moment) => called <= moment),
};

/** Whether a text is in the path, the codes, the ids, the names or the words of a call. */
export function textTest({ text, wild }: FilterValue): CallTest {
  const wanted = wild ? `*${text.toLowerCase()}*` : text.toLowerCase();
  const isIn = (value: string | undefined) => {
    if (value === undefined) return false;
    const shown = value.toLowerCase();
    return wild ? isLike(wanted, shown) : shown.includes(wanted);
  };
  // Three digits are in every third id.
  const isStatus = /^[1-5]\d\d$/.test(text);
  const isInIds = ({ requestId, correlationId, tokenFingerprint, traceId }: Call) =>
    isIn(requestId) || isIn(correlationId) || isIn(tokenFingerprint) || isIn(traceId);
  return (call) =>
    String(call.status) === wanted ||
    isIn(call.path) ||
    isIn(call.errorCode) ||
    isIn(call.platform?.code) ||
    isIn(call.error) ||
    isIn(call.platform?.message) ||
    (!isStatus && isInIds(call)) ||
    isIn(call.client) ||
    isIn(call.credential) ||
    isIn(call.operation) ||
    isIn(call.rule) ||
    isIn(call.heldBy) ||
    isIn(call.limit);
}
