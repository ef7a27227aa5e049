// What every part of the gateway may ask of the log: leveled records with fields. Made by logger.ts; tests collect them in an array.

/** Writes one record. Fields hold no secrets; `msg` is a constant, short and lower-case, never built from input. */
export interface Log {
  error(fields: Record<string, unknown>, msg: string): void;
  warn(fields: Record<string, unknown>, msg: string): void;
  info(fields: Record<string, unknown>, msg: string): void;
  debug(fields: Record<string, unknown>, msg: string): void;
}
