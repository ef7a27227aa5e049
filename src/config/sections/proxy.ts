// The corporate proxy's address: one URL, or host, port and protocol as the SDKs write it. User name and password are
// taken out of the URL. The text of the URL never appears in a message, because it may hold a password.

import { err, type Parsed } from '../values.ts';

/** A PAC file is a script written by people. */
export const LARGEST_SCRIPT_BYTES = 1024 * 1024;

const SCHEMES = ['http', 'https', 'socks4', 'socks4a', 'socks5', 'socks5h'];
const SCRIPT_SCHEMES = ['pac+http', 'pac+https', 'pac+file'];

/** `url` holds no user name or password; they are decoded beside it. */
export interface ProxyUrl {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

/** Reads a proxy URL. A host without scheme is refused with the spelling it needs. */
export function parseProxyUrl(text: string): Parsed<ProxyUrl> {
  const allowed = [...SCHEMES, ...SCRIPT_SCHEMES].join(', ');
  const scheme = /^([a-z0-9+]+):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return err('is not a URL; write it like http://proxy.example.com:3128');
  const isScript = SCRIPT_SCHEMES.includes(scheme);
  if (!isScript && !SCHEMES.includes(scheme))
    return err(`the scheme ${scheme} is not supported; use one of ${allowed}`);
  const plain = text.replace(/^pac\+/i, '');
  if (!URL.canParse(plain)) return err('is not a URL; write it like http://proxy.example.com:3128');
  const url = new URL(plain);
  if (scheme === 'pac+file') {
    return url.host === '' && url.pathname.length > 1
      ? found(`pac+${url.href}`, url)
      : err('needs an absolute path, as in pac+file:///etc/proxy.pac');
  }
  if (url.hostname === '') return err('names no host; write it like http://proxy.example.com:3128');
  if (url.port === '0') return err('has the port 0; give the one the proxy listens on');
  if (isScript) return found(`pac+${url.protocol}//${url.host}${url.pathname}${url.search}`, url);
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '') {
    return err('a proxy has no path; write it like http://proxy.example.com:3128, or pac+http:// for a script');
  }
  return found(`${url.protocol}//${url.host}`, url);
}

function found(url: string, { username, password }: URL): Parsed<ProxyUrl> {
  try {
    const decode = (part: string) => (part === '' ? null : decodeURIComponent(part));
    return { ok: true, value: { url, username: decode(username), password: decode(password) } };
  } catch {
    return err('the user name or password in the URL has a lone %; write it as %25');
  }
}

/** A proxy from its parts. */
export function proxyUrlOf(host: string, port: number | null, protocol: string | null): Parsed<ProxyUrl> {
  if (/[/@?#\s]/.test(host)) return err('is not a host; give protocol and port in their own keys, or use url instead');
  const bracketed = host.includes(':') && !host.startsWith('[') && host.split(':').length > 2 ? `[${host}]` : host;
  const hasPort = /:\d+$/.test(bracketed.replace(/^\[[^\]]*\]/, ''));
  if (hasPort && port !== null) return err('already holds a port; leave port out');
  return parseProxyUrl(`${protocol ?? 'http'}://${bracketed}${port === null ? '' : `:${port}`}`);
}
