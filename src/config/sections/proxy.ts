// [proxy]: the corporate proxy's address, as one URL or as host, port and protocol in the way of the SDKs, and which
// hosts it is not used for. User name and password are taken out of the URL, whose text never appears in a message.

import { BlockList, isIP } from 'node:net';
import { FileRefusal, readPlainFileSync, whyNotRead } from '../../fs/plain-file.ts';
import { inlineSecret } from '../../secret.ts';
import { stripBrackets } from '../listen-address.ts';
import { boolean, choice, commaList, integer, secret, text, textOrEmpty } from '../option.ts';
import { quote } from '../problem.ts';
import { Section, type SectionContext, type SectionReader, type Values } from '../section.ts';
import { err, ok, type Parsed } from '../values.ts';

const SCHEMES = ['http', 'https', 'socks4', 'socks4a', 'socks5', 'socks5h'] as const;
const SCRIPT_SCHEMES = ['pac+http', 'pac+https', 'pac+file'] as const;

export const proxy = new Section(
  'proxy',
  'The corporate proxy between here and Genesys Cloud: for token calls, API calls and sockets alike.',
  {
    url: text(null, {
      defaultNote: 'HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY apply',
      example: 'http://proxy.example.com:3128',
      doc:
        'The corporate proxy: http, https, socks4, socks4a, socks5, socks5h, or a script: pac+http, pac+https, ' +
        'pac+file.',
    }),
    host: textOrEmpty({ example: 'proxy.example.com', doc: 'Instead of url: the host, as the SDKs write it.' }),
    port: integer(null, { min: 1, max: 65535, example: '3128', doc: 'Instead of url: the port.' }),
    protocol: choice(SCHEMES, null, {
      defaultNote: 'http',
      example: 'http',
      doc: 'Instead of url: the protocol spoken with the proxy.',
    }),
    username: textOrEmpty({
      example: 'egress',
      doc: 'User name for the proxy (Basic or SOCKS; NTLM and Kerberos are not supported).',
    }),
    password: secret({ example: 'PROXY_PASSWORD', doc: 'Password for the proxy.' }),
    credential_hosts: commaList(null, {
      defaultNote: 'with pac+https and pac+file whatever the script names, with pac+http none',
      example: '.proxy.example.com, 10.0.0.5:3128',
      doc:
        'Proxies that a script may name and that are then shown username and password when they ask: names, ' +
        '.suffixes, host:port, CIDR blocks.',
    }),
    no_proxy: commaList(null, {
      example: '.internal.example.com, 10.0.0.0/8',
      doc: 'Hosts reached directly: names, .suffixes, host:port, CIDR blocks, *.',
    }),
    off: boolean('false', { doc: 'Use no proxy at all, whatever the environment says.' }),
  },
);

type Reader = SectionReader<(typeof proxy)['options']>;

/** `[proxy]`. The URL has no credentials in it; null: the environment decides, unless `off`. */
export type ProxyConfig = Omit<Values<typeof proxy>, 'host' | 'port' | 'protocol'>;

/** Reads `[proxy]`: url, or host, port and protocol; of the two, the one from the higher source counts. */
export function readProxy(context: SectionContext): ProxyConfig {
  const reader = proxy.reader(context);
  const off = reader.get('off');
  const noProxy = readHosts(reader, 'no_proxy');
  const credentialHosts = readHosts(reader, 'credential_hosts');
  const username = reader.get('username');
  const password = reader.get('password');
  const {
    url: text,
    host,
    port,
    protocol,
    ...rest
  } = reader.values('off', 'no_proxy', 'credential_hosts', 'username', 'password');
  const config: ProxyConfig = { ...rest, url: null, username, password, credentialHosts, noProxy, off };

  const urlLayer = text === null ? undefined : reader.setting('url')?.layer;
  const hostLayer = host === null ? undefined : reader.setting('host')?.layer;
  if (urlLayer !== undefined && urlLayer === hostLayer)
    reader.problem('host', `and proxy.url (${reader.location('url')}) say the same thing; keep one of the two`);
  const usesUrl = text !== null && (urlLayer ?? 0) <= (hostLayer ?? Number.POSITIVE_INFINITY);
  const parsed = usesUrl ? parseProxyUrl(text) : host !== null ? proxyUrlOf(host, port, protocol) : null;
  if (parsed === null) {
    const orphan = (['port', 'protocol'] as const).find((key) => reader.isSet(key));
    if (orphan !== undefined) reader.missing(orphan, 'needs proxy.host beside it');
    return config;
  }
  const key = usesUrl ? 'url' : 'host';
  if (parsed.ok) return withAddress(config, parsed.value, reader, key);
  reader.problem(key, parsed.message);
  return config;
}

/** The proxy with its address; user name and password are in it or beside it, not both. */
function withAddress(config: ProxyConfig, address: ProxyUrl, reader: Reader, key: 'url' | 'host'): ProxyConfig {
  const { username, password, credentialHosts } = config;
  const { url } = address;
  const unusable = refuseScriptFile(url);
  if (unusable !== null) reader.problem(key, unusable);
  if (address.username !== null && username !== null)
    reader.problem('username', 'is given in proxy.url already; keep one of the two');
  if (address.password !== null && password !== null)
    reader.problem('password', 'is given in proxy.url already; keep one of the two');
  const ownPassword = address.password === null ? null : inlineSecret(address.password, reader.location(key));
  const usedUsername = address.username ?? username;
  const usedPassword = password ?? ownPassword;
  if (usedPassword !== null && usedUsername === null) reader.missing('password', 'needs proxy.username beside it');
  if (url.startsWith('pac+http:') && usedPassword !== null && credentialHosts.length === 0) {
    reader.warning(
      key,
      'comes over plain http, where anybody on the way may name a proxy: it is used, but the password is shown to ' +
        'no proxy; use pac+https or pac+file, or list the proxies in proxy.credential_hosts',
    );
  }
  return { ...config, url, username: usedUsername, password: usedPassword };
}

/** Reads a list of names, suffixes, addresses and ranges. */
function readHosts(reader: Reader, key: 'no_proxy' | 'credential_hosts'): readonly string[] {
  const entries = reader.get(key);
  for (const entry of parseNoProxy(entries).unusable) {
    reader.problem(
      key,
      `${quote(entry)} can match nothing; write a name, a suffix as in .example.com, an address, or a range as in ` +
        '10.0.0.0/8',
    );
  }
  return entries;
}

/**
 * Why a PAC file can never be used: it is not a plain file. A missing one may exist when it is needed, and is reported
 * then.
 */
function refuseScriptFile(url: string): string | null {
  if (!url.startsWith('pac+file:')) return null;
  const file = new URL(url.slice('pac+'.length));
  try {
    readPlainFileSync(file, LARGEST_SCRIPT_BYTES);
    return null;
  } catch (error) {
    return error instanceof FileRefusal ? `${file.pathname} ${whyNotRead(error)}` : null;
  }
}

/** The largest PAC file. People write it by hand. */
export const LARGEST_SCRIPT_BYTES = 1024 * 1024;

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
  const isScript = SCRIPT_SCHEMES.some((known) => known === scheme);
  if (!isScript && !SCHEMES.some((known) => known === scheme))
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
    return ok({ url, username: decode(username), password: decode(password) });
  } catch {
    return err('the user name or password in the URL has a lone %; write it as %25');
  }
}

/** Makes a proxy's URL from its parts. */
export function proxyUrlOf(host: string, port: number | null, protocol: string | null): Parsed<ProxyUrl> {
  if (/[/@?#\s]/.test(host)) return err('is not a host; give protocol and port in their own keys, or use url instead');
  const bracketed = host.includes(':') && !host.startsWith('[') && host.split(':').length > 2 ? `[${host}]` : host;
  const hasPort = /:\d+$/.test(bracketed.replace(/^\[[^\]]*\]/, ''));
  if (hasPort && port !== null) return err('already holds a port; leave port out');
  return parseProxyUrl(`${protocol ?? 'http'}://${bracketed}${port === null ? '' : `:${port}`}`);
}

/** Whether a host is exempt from the proxy. `host` without brackets. */
export interface NoProxy {
  matches(host: string, port: number): boolean;
  /** Entries that can never match anything (`10.0.0.0/99`), as written, for a warning. */
  readonly unusable: readonly string[];
}

type Rule = (host: string) => boolean;

/**
 * Reads entries (commas or blanks also separate within one). `x` and `.x` mean x and everything below it, as in curl;
 * `*.x` only what is below; other `*` stand for any text; `x:443` holds for that port only; an address or CIDR range is
 * compared with literal addresses.
 */
export function parseNoProxy(entries: readonly string[]): NoProxy {
  const rules: { port: number | null; matches: Rule }[] = [];
  const unusable: string[] = [];
  for (const entry of entries.flatMap((text) => text.split(/[\s,]+/)).filter((text) => text !== '')) {
    const { name, port } = splitPort(entry.toLowerCase());
    const matches = ruleOf(name);
    if (matches && (port === null || (port > 0 && port < 65536))) rules.push({ port, matches });
    else unusable.push(entry);
  }
  return {
    unusable,
    matches: (host, port) => {
      const name = stripBrackets(host.toLowerCase()).replace(/\.$/, '');
      return rules.some((rule) => (rule.port === null || rule.port === port) && rule.matches(name));
    },
  };
}

/** `name:443`, `[::1]:443`, `[::1]`, and `::1`, which has colons but no port. */
function splitPort(entry: string): { name: string; port: number | null } {
  const bracketed = /^\[([^\]]*)\](?::(\d+))?$/.exec(entry);
  const plain = /^([^:]*):(\d+)$/.exec(entry);
  const [, name = entry, port] = bracketed ?? plain ?? [];
  return { name, port: port === undefined ? null : Number(port) };
}

function ruleOf(name: string): Rule | null {
  const slash = name.indexOf('/');
  if (slash !== -1) return rangeRule(name.slice(0, slash), name.slice(slash + 1));
  if (isIP(name) !== 0) return rangeRule(name, isIP(name) === 4 ? '32' : '128');
  if (name.includes('*')) return globRule(name);
  const suffix = name.replace(/^\.+/, '').replace(/\.$/, '');
  if (suffix === '') return null;
  return (host) => host === suffix || (host.endsWith(`.${suffix}`) && isIP(host) === 0);
}

function rangeRule(address: string, prefixText: string): Rule | null {
  const family = isIP(stripBrackets(address));
  const prefix = /^\d{1,3}$/.test(prefixText) ? Number(prefixText) : Number.NaN;
  if (family === 0 || !(prefix <= (family === 4 ? 32 : 128))) return null;
  const range = new BlockList();
  range.addSubnet(stripBrackets(address), prefix, family === 4 ? 'ipv4' : 'ipv6');
  return (host) => {
    const hostFamily = isIP(host);
    return hostFamily !== 0 && range.check(host, hostFamily === 4 ? 'ipv4' : 'ipv6');
  };
}

/**
 * Matches each piece at its first occurrence. A regular expression would backtrack, which takes very long with several
 * `*` and a long name.
 */
function globRule(glob: string): Rule {
  const parts = glob.split(/\*+/);
  const first = parts.shift() ?? '';
  const last = parts.pop() ?? '';
  return (host) => {
    if (!host.startsWith(first) || !host.endsWith(last)) return false;
    let at = first.length;
    for (const part of parts) {
      const found = host.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
    }
    return at <= host.length - last.length;
  };
}
