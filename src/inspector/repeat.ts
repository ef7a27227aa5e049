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

/** The headers of a call that another one has as well; those with a masked value are left out. */
export function repeatedHeaders(headers: Headers): Headers {
  return headers.filter(([name, value]) => !OWN.test(name) && !isMasked(value));
}
