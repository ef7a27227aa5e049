// Takes an Authorization header apart: RFC 6750 Bearer and RFC 7617 Basic. Pure; judges nothing.

/**
 * What a header says. `other`: a scheme that is not looked at, an empty Bearer, something unreadable; `text` is all
 * that could be read of it.
 */
export type Authorization =
  | { readonly scheme: 'bearer'; readonly token: string }
  | { readonly scheme: 'basic'; readonly name: string; readonly secret: string }
  | { readonly scheme: 'other'; readonly text: string };

/**
 * Scheme names in any case. The Basic pair is split at its first colon and taken raw: SDKs do not percent-encode it.
 */
export function parseAuthorization(header: string): Authorization {
  const at = header.search(/[ \t]/);
  if (at < 0) return { scheme: 'other', text: header };
  const scheme = header.slice(0, at).toLowerCase();
  const value = header.slice(at + 1).trim();
  if (value === '') return { scheme: 'other', text: '' };
  if (scheme === 'bearer') return { scheme: 'bearer', token: value };
  if (scheme !== 'basic' || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(value)) return { scheme: 'other', text: value };
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0
    ? { scheme: 'other', text }
    : { scheme: 'basic', name: text.slice(0, colon), secret: text.slice(colon + 1) };
}
