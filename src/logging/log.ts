// The log as the rest of the gateway sees it, and its levels.

import type { LogLevel } from '../config/gateway-config.ts';

/** Writes one record. Fields hold no secrets; `msg` is a constant, short and lower-case, never built from input. */
export interface Log {
  error(fields: Record<string, unknown>, msg: string): void;
  warn(fields: Record<string, unknown>, msg: string): void;
  info(fields: Record<string, unknown>, msg: string): void;
  debug(fields: Record<string, unknown>, msg: string): void;
}

/** The levels a record can have. */
export type RecordLevel = Exclude<LogLevel, 'none'>;

/** Larger is more severe; a record is written when its number is at least the configured one. */
export const SEVERITY: Readonly<Record<LogLevel, number>> = {
  trace: 10,
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  none: 100,
};
