// The levels of the log as numbers, so that the hot path compares and does nothing else.

import type { LogLevel } from '../config/gateway-config.ts';

/** The levels a record can have. */
export type RecordLevel = Exclude<LogLevel, 'none'>;

/** Larger is more severe; a record is written when its number is at least the configured one. */
export const SEVERITY: Readonly<Record<LogLevel, number>> = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, none: 100 };
