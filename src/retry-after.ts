// Reads a Retry-After header (RFC 9110 section 10.2.3). Pure; does not decide what to do with it.

/** No wish of the login host holds renewals back for longer than this. */
export const LONGEST_RETRY_AFTER_MS = 60 * 60 * 1000;

/** Nor one of the API its calls: a daily limit asks for hours. */
export const LONGEST_LIMIT_MS = 24 * LONGEST_RETRY_AFTER_MS;

const IMF_OR_RFC850 = /^[A-Z][a-z]{2,8}, \d{2}[ -][A-Z][a-z]{2}[ -](\d{4}|\d{2}) \d{2}:\d{2}:\d{2} GMT$/;
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/**
 * Milliseconds to wait, 0 to `longestMs`; undefined when the value is missing or is neither whole seconds nor an HTTP
 * date. A date is measured from `dateHeader`, the sender's own clock, when that is readable, else from `nowMs`.
 */
export function parseRetryAfter(
  value: string | undefined,
  nowMs: number,
  dateHeader?: string,
  longestMs = LONGEST_RETRY_AFTER_MS,
): number | undefined {
  const text = value?.trim();
  if (text === undefined || text === '') return undefined;
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, longestMs);
  const at = parseHttpDate(text);
  if (at === undefined) return undefined;
  const from = parseHttpDate(dateHeader?.trim() ?? '') ?? nowMs;
  return Math.min(Math.max(0, at - from), longestMs);
}

/** Date.parse alone takes nearly anything for a date, and reads asctime as local time. */
function parseHttpDate(text: string): number | undefined {
  const parsed = IMF_OR_RFC850.test(text)
    ? Date.parse(text)
    : ASCTIME.test(text)
      ? Date.parse(`${text} GMT`)
      : Number.NaN;
  return Number.isNaN(parsed) ? undefined : parsed;
}
