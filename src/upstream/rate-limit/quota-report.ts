// What an instance tells of one limit and is told for it, and how both are written: the arguments and the reply of TICK.

import { MINUTE_MS } from './rate-window.ts';

/** Permits, and what is known of an instance, are good for so long after the tick that told them. */
export const PERMIT_LIFE_MS = 3_000;
/** So far ahead permits are given out, each with its moment. */
export const AHEAD_MS = 1_000;
/** A call counts from its arrival, which may lie a little ahead of its answer. */
export const LATEST_MS = MINUTE_MS + 1_200;
/** Rows of a limit: more are nobody's. */
export const MOST_ROWS = 256;
/** No limit, and no number of permits, is larger. */
export const LARGEST = 1_000_000;
export const DAY_MS = 86_400_000;

/** What an instance tells of one limit. Durations in ms; counts are of the last minute where nothing else is said. */
export interface QuotaReport {
  /** The row: the instance's id, a colon, and a number of its own choice. */
  readonly row: string;
  /** Of this row's ticks, from 1; and of the last one whose reply was read, 0 for none. */
  readonly sequence: number;
  readonly acknowledged: number;
  /** Calls a minute; 0 while not known. */
  readonly limit: number;
  /** How long it is still believed, where a 429 told it; else 0. */
  readonly metLeftMs: number;
  /** How long the platform asked to pause; 0 for not at all. */
  readonly pauseMs: number;
  readonly inFlight: number;
  /** Permits that it keeps, or what it may start while it paces itself: to be used while the tick is under way. */
  readonly held: number;
  /** Permits that it would like to have at hand while nobody waits. */
  readonly spare: number;
  /** Whether permits are asked for. */
  readonly isGranting: boolean;
  /** Clients that share the limit. */
  readonly sharers: number;
  /** Sent calls: when they stop to count, from now, and how many. */
  readonly counted: readonly (readonly [leftMs: number, calls: number])[];
  readonly clients: readonly ClientReport[];
}

/** What one client asked of the limit at one instance. */
export interface ClientReport {
  /** `[A-Za-z0-9_-]{1,22}`; not its name. */
  readonly id: string;
  readonly waiting: number;
  /** In the last minute, and in the last seconds of it. */
  readonly served: number;
  readonly recent: number;
}

/** What an instance is told. Durations in ms from the moment of the tick. */
export interface QuotaReply {
  /** Of instances that were heard lately, this one included. */
  readonly instances: number;
  /** The smallest that any of them knows; 0 while none does. */
  readonly limit: number;
  /** Calls of the others, of the last minute or under way, and their permits. */
  readonly usedElsewhere: number;
  /** How long the platform asked to pause; 0 for not at all. */
  readonly pauseMs: number;
  /** How long everybody is to pace itself, because rows may be missing; 0 for not at all. */
  readonly guardMs: number;
  /** The part of what opens that is this instance's while as many wait: 0 to 1. */
  readonly share: number;
  /** Places that nobody has; negative after a limit has come down. */
  readonly free: number;
  /** How many permits it may keep while nobody waits. */
  readonly spareMost: number;
  /** When the new permits are good, and how many of them. */
  readonly permits: readonly (readonly [inMs: number, count: number])[];
  /** When places of all instances open. */
  readonly openings: readonly (readonly [inMs: number, count: number])[];
}

/** The arguments of a report. */
export function encodeReport(report: QuotaReport): string[] {
  const pairs = report.counted.map(([leftMs, calls]) => `${whole(leftMs)}:${whole(calls)}`);
  const clients = report.clients.map(
    ({ id, waiting, served, recent }) => `${id}:${whole(waiting)}:${whole(served)}:${whole(recent)}`,
  );
  return [
    report.row,
    ...[report.sequence, report.acknowledged, report.limit, report.metLeftMs, report.pauseMs].map(whole),
    ...[report.inFlight, report.held, report.spare, report.isGranting ? 1 : 0, report.sharers].map(whole),
    pairs.join(','),
    clients.join(','),
  ];
}

/** Reads a reply; null for one that is none, or that answers an older tick. What is out of bounds is cut to them. */
export function decodeReply(reply: unknown): QuotaReply | null {
  if (!Array.isArray(reply) || reply.length < 11 || reply[0] !== 1) return null;
  const number = (at: number, most: number, least = 0) => {
    const value = Number(reply[at]);
    return Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : least;
  };
  return {
    instances: Math.max(1, number(1, MOST_ROWS)),
    limit: number(2, LARGEST),
    usedElsewhere: number(3, 1e9),
    pauseMs: number(4, DAY_MS),
    guardMs: number(5, PERMIT_LIFE_MS),
    share: number(6, 1_000) / 1_000,
    free: number(7, LARGEST, -1e9),
    spareMost: number(8, LARGEST),
    permits: pairsOf(reply[9], AHEAD_MS),
    openings: pairsOf(reply[10], LATEST_MS + PERMIT_LIFE_MS),
  };
}

function whole(value: number): string {
  return Math.max(0, Math.min(1e9, Math.ceil(value))).toFixed(0);
}

function pairsOf(text: unknown, mostMs: number): [number, number][] {
  if (typeof text !== 'string' || !/^(?:\d{1,7}:\d{1,7}(?:,|$))*$/.test(text)) return [];
  return text
    .split(',')
    .filter((pair) => pair !== '')
    .map((pair): [number, number] => {
      const [ms, count] = pair.split(':').map(Number) as [number, number];
      return [Math.min(mostMs, ms), Math.min(LARGEST, count)];
    });
}
