// Where the time of one call went, as bars and as a table: from its trace, or, where nobody watched when it was made,
// from the sums of its record.

import { html, nothing, svg } from 'lit-html';
import type { Attempt, Call, CallTrace } from '../wire.ts';
import { duration, visible } from './format.ts';

/** A stretch of one kind. */
interface Piece {
  readonly kind: string;
  readonly word: string;
  readonly at: number;
  readonly ms: number;
}

/** One line: a wait, or an attempt with its phases. */
export interface TimelineRow {
  readonly label: string;
  readonly note: string;
  readonly at: number;
  readonly ms: number;
  readonly pieces: readonly Piece[];
}

/** All lines, and whether their order is known. */
export interface Timeline {
  readonly rows: readonly TimelineRow[];
  readonly total: number;
  readonly isExact: boolean;
}

/** What is shorter has no bar; the table has it. */
const SHORTEST_MS = 0.5;

const WAITS = {
  queue: 'Waited for a limit',
  token: 'Waited for a token',
  pause: 'Pause before the next try',
} as const;

/** The lines of a call, in the order of their beginnings. */
export function timelineOf(call: Call): Timeline {
  const { trace, durationMs } = call;
  const rows = trace === undefined ? fromSums(call) : fromTrace(trace);
  const total = Math.max(durationMs, ...rows.map(({ at, ms }) => at + ms), 0.1);
  return { rows, total, isExact: trace !== undefined };
}

function single(label: string, kind: string, at: number, ms: number, note = ''): TimelineRow {
  return { label, note, at, ms, pieces: [{ kind, word: label, at, ms }] };
}

function fromSums({ queueMs, tokenWaitMs, upstreamMs, durationMs, attempts }: Call): TimelineRow[] {
  const rows: TimelineRow[] = [];
  let at = 0;
  const add = (label: string, kind: string, ms: number, note = '') => {
    if (ms > 0) rows.push(single(label, kind, at, ms, note));
    at += ms;
  };
  add(WAITS.queue, 'queue', queueMs);
  add(WAITS.token, 'token', tokenWaitMs);
  add('Genesys Cloud', 'wait', upstreamMs, attempts > 1 ? `${attempts} tries together` : '');
  add('Everything else', 'rules', Math.max(0, durationMs - at));
  return rows;
}

function fromTrace({ rules, waits, attempts, stalled }: CallTrace): TimelineRow[] {
  const rows = [
    single('Accepted, checked', 'rules', 0, rules),
    ...waits.map(({ at, ms, for: what }) => single(WAITS[what], what, at, ms)),
    ...attempts.map((attempt, index) => attemptRow(attempt, index, attempts.length)),
  ].sort((a, b) => a.at - b.at);
  const end = Math.max(0, ...rows.map(({ at, ms }) => at + ms));
  // It ran beside the answer's body; where in it is not known.
  if (stalled > 0)
    rows.push(single('Stood still, unread', 'stalled', Math.max(0, end - stalled), stalled, 'the caller did not read'));
  return rows;
}

function attemptRow(attempt: Attempt, index: number, count: number): TimelineRow {
  const { at, ms, pool, dial, idle, send, wait, body, status, error, retryAfter } = attempt;
  const pieces: Piece[] = [];
  let next = at;
  const add = (kind: string, word: string, took: number | undefined) => {
    if (took === undefined) return;
    pieces.push({ kind, word, at: next, ms: took });
    next += took;
  };
  add('pool', 'for a connection', pool);
  add('dial', 'name looked up', dial?.dns);
  add('dial', 'connected', dial?.tcp);
  add('dial', 'tunnel by the proxy', dial?.proxy);
  add('dial', 'TLS', dial?.tls);
  add('send', 'sent', send);
  add('wait', 'first octet of the answer', wait);
  add('body', 'rest of the answer', body);
  const notes = [
    status === undefined ? null : `status ${status}`,
    error === undefined ? null : visible(error, 80),
    retryAfter === undefined ? null : `retry after ${duration(retryAfter)}`,
    idle === undefined ? null : `connection was there, idle ${duration(idle)}`,
  ].filter((note) => note !== null);
  return {
    label: count === 1 ? 'Genesys Cloud' : `Try ${index + 1}`,
    note: notes.join(', '),
    at,
    ms,
    pieces: pieces.length === 0 ? [{ kind: 'wait', word: 'on its way', at, ms }] : pieces,
  };
}

/** Kinds in the order of the key, with their words. */
const KEY: Readonly<Record<string, string>> = {
  rules: 'in the gateway',
  queue: 'limit',
  token: 'token',
  pause: 'pause',
  pool: 'for a connection',
  dial: 'connecting',
  send: 'sending',
  wait: 'Genesys Cloud',
  body: 'answer',
  stalled: 'unread',
};

/** The bars, and the table beside them. */
export function timelineMark({ rows: all, total, isExact }: Timeline) {
  const isSeen = ({ ms }: { readonly ms: number }) => ms >= SHORTEST_MS || ms >= total / 50;
  const rows = all.filter(isSeen);
  const kinds = new Set(rows.flatMap(({ pieces }) => pieces.filter(isSeen).map(({ kind }) => kind)));
  return html`<div class="spans" role="img" aria-label="Time line: ${rows.map(({ label, ms }) => `${label} ${duration(ms)}`).join(', ')}">
      ${rows.map(
        ({ label, note, ms, pieces }) =>
          html`<span>${label}</span>
            <svg viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true">
              ${pieces.filter(isSeen).map(({ kind, at, ms: took }) => bar(kind, at, took, total))}
            </svg>
            <span class="right">${duration(ms)}</span>
            ${note === '' ? nothing : html`<span class="note soft">${note}</span>`}`,
      )}
    </div>
    <p class="phases">
      ${Object.entries(KEY).map(([kind, word]) =>
        kinds.has(kind) ? html`<span class="key k-${kind}">${word}</span>` : nothing,
      )}
    </p>
    ${isExact ? nothing : html`<p class="soft">Sums of its record: nobody watched when it was made, so the order is not known.</p>`}`;
}

function bar(kind: string, at: number, ms: number, total: number) {
  const x = (at / total) * 1000;
  return svg`<rect class=${`r-${kind}`} x=${x.toFixed(1)} y="2" width=${Math.max(2, (ms / total) * 1000).toFixed(1)} height="12" rx="1"/>`;
}

/** The same as a table: every phase, however short. */
export function timelineTable({ rows }: Timeline) {
  return html`<div class="scroll" role="region" tabindex="0" aria-label="Time line as a table">
    <table>
      <thead>
        <tr>
          <th>What</th>
          <th class="right">From</th>
          <th class="right">Took</th>
          <th>Note</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ label, note, at, ms, pieces }) =>
            html`<tr>
                <td>${label}</td>
                <td class="right">${duration(at)}</td>
                <td class="right">${duration(ms)}</td>
                <td>${note}</td>
              </tr>
              ${
                pieces.length < 2
                  ? nothing
                  : pieces.map(
                      (piece) =>
                        html`<tr>
                        <td class="sub">${piece.word}</td>
                        <td class="right">${duration(piece.at)}</td>
                        <td class="right">${duration(piece.ms)}</td>
                        <td></td>
                      </tr>`,
                    )
              }`,
        )}
      </tbody>
    </table>
  </div>`;
}
