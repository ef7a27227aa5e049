// Whether somebody watches where the time of calls goes; and, only then, which connection carries which attempt.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { type AttemptTrace, CallTrace } from '../logging/call-trace.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { type ConnectionTimes, timesOf } from './egress/connection-times.ts';

/** So many calls a second are traced where not each one has to be; a moment's burst is traced whole. */
const MOST_A_SECOND = 300;

/**
 * The switch of one gateway: calls that begin while it is on are traced, of a flood as many as somebody can look at.
 * Watchers are counted.
 */
export class Tracing {
  /** Asked once a call. */
  isOn = false;
  readonly #now: () => number;
  #watchers = 0;
  /** Those of them for whom each call is traced. */
  #ofEach = 0;
  #room = MOST_A_SECOND;
  #roomAt = 0;

  /** `now`: monotonic ms, of the clock that the layers and the egress have. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * One watcher more, of each call or of some; what it returns is to be called when it leaves, and is safe to repeat.
   */
  watch(calls: 'each' | 'some' = 'each'): () => void {
    this.#watchers += 1;
    if (calls === 'each') this.#ofEach += 1;
    if (this.#watchers === 1) this.#switch(true);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#watchers -= 1;
      if (calls === 'each') this.#ofEach -= 1;
      if (this.#watchers === 0) this.#switch(false);
    };
  }

  /** A call begins: there are notes of it, unless there are too many calls. */
  begin(record: ExchangeRecord): void {
    if (this.#ofEach > 0 || this.#hasRoom()) record.trace = new CallTrace(this.#now);
  }

  #hasRoom(): boolean {
    const now = this.#now();
    this.#room = Math.min(MOST_A_SECOND, this.#room + ((now - this.#roomAt) * MOST_A_SECOND) / 1_000);
    this.#roomAt = now;
    if (this.#room < 1) return false;
    this.#room -= 1;
    return true;
  }

  #switch(isOn: boolean): void {
    this.isOn = isOn;
    switchedOn += isOn ? 1 : -1;
    if (isOn && switchedOn === 1) {
      period += 1;
      subscribe(SEND_HEADERS, onSendHeaders);
    } else if (!isOn && switchedOn === 0) unsubscribe(SEND_HEADERS, onSendHeaders);
  }
}

/** What undici publishes of a request that it is about to write. */
const SEND_HEADERS = 'undici:client:sendHeaders';

interface SendHeaders {
  readonly socket: Socket;
  /** Request line and header lines, all but the one that frames the body. */
  readonly headers: string;
  readonly request: { readonly body: unknown; readonly contentLength: number | null };
}

/** The header line that undici writes behind the others. */
function framingOf({ body, contentLength }: SendHeaders['request']): string {
  const length = Buffer.isBuffer(body) ? body.length : contentLength;
  if (length !== null) return `content-length: ${length}\r\n`;
  return body === null ? '' : 'transfer-encoding: chunked\r\n';
}

/** The gateways of this process that are watched; undici's channel is the process's. */
let switchedOn = 0;
/** The number of this stretch of being watched: what used a connection before it left no mark. */
let period = 0;

/** The attempt that undici is about to write: it publishes the socket in the tick in which it has called onConnect. */
let writing: AttemptTrace | null = null;

/** To be called in onConnect of a traced attempt. `socket`: what carries it, as far as its pool knows. */
export function beginsToWrite(attempt: AttemptTrace, socket: Socket | null): void {
  if (switchedOn > 0) writing = attempt;
  // Of calls that are traced for their spans alone others may use the connection in between, without a note.
  else if (socket !== null) noteConnection(attempt, timesOf(socket), null);
}

function noteConnection(attempt: AttemptTrace, times: ConnectionTimes | undefined, freeSince: number | null): void {
  if (times === undefined) return;
  if (times.readyAt >= attempt.permittedAt) attempt.dialled(times.since(attempt.permittedAt));
  else attempt.reused(times.readyAt, freeSince);
}

function onSendHeaders(message: unknown): void {
  const { socket, headers, request } = message as SendHeaders;
  const attempt = writing;
  writing = null;
  if (attempt?.call.isHeadWanted) attempt.call.sentHead = headers + framingOf(request);
  const times = timesOf(socket);
  if (times === undefined) return;
  const freeSince = times.usedInPeriod === period ? times.freeSince : null;
  times.usedInPeriod = period;
  times.freeSince = null;
  if (attempt === null) return;
  attempt.connection = times;
  noteConnection(attempt, times, freeSince);
}
