// Whether a redirect URI is one that a client registered, and how an answer is put on it.

/** Exact match, save that the port of a loopback one is not compared (RFC 8252 section 7.3). Never with a fragment or user info. */
export function isRegisteredRedirect(registered: readonly string[], shown: string): boolean {
  if (shown.includes('#')) return false;
  const url = URL.parse(shown);
  if (url?.username !== '' || url.password !== '') return false;
  if (registered.includes(shown)) return true;
  if (url.protocol !== 'http:' || !['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)) return false;
  return registered.some((candidate) => {
    const known = URL.parse(candidate);
    return known?.protocol === 'http:' && known.hostname === url.hostname && known.pathname === url.pathname && known.search === url.search;
  });
}

/** The URI with the fields added: to the query for codes, as the fragment for tokens. */
export function addToRedirect(redirectUri: string, part: 'query' | 'fragment', fields: Readonly<Record<string, string | undefined>>): string {
  const url = new URL(redirectUri);
  const given = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined);
  if (part === 'fragment') url.hash = new URLSearchParams(given).toString();
  else for (const [name, value] of given) url.searchParams.append(name, value);
  return url.href;
}

/** What `form-action` must allow so that a browser follows the redirect after the form: an origin, or a scheme where CSP has no word for the host. */
export function toFormActionSource(redirectUri: string): string {
  const url = new URL(redirectUri);
  return (url.protocol === 'http:' || url.protocol === 'https:') && !url.hostname.startsWith('[') ? url.origin : url.protocol;
}
