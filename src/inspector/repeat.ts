// What of a call can be repeated from what is kept of it. Pure: the gateway asks it, and the page and the terminal.

type Headers = readonly (readonly [name: string, value: string])[];

/** Masks, the marks that stand for ids of channels, and the mark of a cut. */
const NOT_WHOLE = /\[redacted(?:~[A-Z2-9]{10})?\]|~[0-9a-f]{12}(?![0-9a-f])| \[cut at \d+ [^\]]*\]$/;

/** Whether a text of a record is not all that was sent: a secret was masked in it, or its end was cut. */
export function isMasked(shown: string): boolean {
  return NOT_WHOLE.test(shown);
}

/** What a new request has of its own, what proves who calls, what speaks to this gateway, what a browser adds. */
const OWN =
  /^(?:host|connection|keep-alive|te|trailer|transfer-encoding|content-length|upgrade|expect|authorization|cookie|origin|referer|proxy-.*|x-gateway-.*|x-forwarded-.*|forwarded|sec-.*|traceparent|tracestate)$/i;

/** RFC 9110, section 5.6.2: nothing else is a name of a header. A name that was cut is none. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/**
 * The headers of a call that another one has as well: without those that `Connection` names, which went no further than
 * this gateway, and those with a masked value or name.
 */
export function repeatedHeaders(headers: Headers): Headers {
  const hops = new Set(
    headers.flatMap(([name, value]) =>
      /^connection$/i.test(name) ? value.split(',').map((one) => one.trim().toLowerCase()) : [],
    ),
  );
  return headers.filter(
    ([name, value]) =>
      TOKEN.test(name) && !OWN.test(name) && !hops.has(name.toLowerCase()) && !isMasked(name) && !isMasked(value),
  );
}
