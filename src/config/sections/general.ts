// [general] and [gateway]: the region, and the API, login and streaming hosts that follow from it or from another host
// in its place. Refuses a gateway that is ourselves, and plain http to other machines.

import { formatListenAddress, isLoopbackHost, isWildcardHost, type ListenAddress } from '../listen-address.ts';
import { boolean, choice, integer, text, textOrEmpty } from '../option.ts';
import { didYouMean, quote } from '../problem.ts';
import { Section, type SectionContext, type SectionReader, type SectionReport, type Values } from '../section.ts';
import { err, ok, type Parsed } from '../values.ts';

export const general = new Section('general', 'Region and live reload.', {
  host: text('https://api.mypurecloud.com', {
    doc: 'The Genesys Cloud region.',
    more:
      'A domain (mypurecloud.de), an API address (https://api.mypurecloud.de) or a region name (eu-central-1, ' +
      'eu_central_1).',
  }),
  unsafe_unlisted_host: boolean('false', {
    doc: 'Accept a host that is no known region, though it looks like a misspelt one: secrets are sent there.',
  }),
  live_reload_config: boolean('true', {
    doc: 'Apply changes to this file while running.',
    more: 'An invalid file is rejected and the current configuration stays in effect. SIGHUP always reloads.',
  }),
});

export const gateway = new Section('gateway', 'Another host in place of the region, as in the SDKs.', {
  host: textOrEmpty({
    example: 'gateway.example.com',
    doc: 'Send logins and API calls to this host instead of to the region.',
    more: 'Another gateway or a test server; may hold a port and a path. The same keys as in the Genesys Cloud SDKs.',
  }),
  protocol: choice(['https', 'http'], 'https', { doc: 'https, or http (on loopback, or with unsafe_plain_http).' }),
  port: integer(null, {
    max: 65535,
    example: '8443',
    doc: 'The port, when it is not the usual one of the protocol.',
  }),
  path_params_login: textOrEmpty({
    parse: parsePathPrefix,
    example: 'login',
    doc: 'Path put before /oauth/token and the other login paths.',
  }),
  path_params_api: textOrEmpty({ parse: parsePathPrefix, example: 'api', doc: 'Path put before /api/v2.' }),
  unsafe_plain_http: boolean('false', {
    doc: 'Allow protocol = http to a host that is not this machine: tokens and secrets then travel unencrypted.',
  }),
});

/** `[general]`; the region is known by its hosts. */
export type GeneralConfig = Omit<Values<typeof general>, 'host' | 'unsafeUnlistedHost'> & {
  readonly hosts: UpstreamHosts;
};

/** The base of a group of URLs: `origin` (scheme, host, port) and a path prefix, `''` or `/like/this`. */
export interface UrlBase {
  readonly origin: string;
  readonly pathPrefix: string;
}

/** Where one credential's traffic goes: its region, or the `[gateway]` host that stands before it. */
export interface UpstreamHosts {
  /** The region's domain, `mypurecloud.de`; for messages and for `Host`-independent decisions. */
  readonly domain: string;
  readonly api: UrlBase;
  readonly login: UrlBase;
  /** `wss:` or `ws:` origin. */
  readonly streaming: UrlBase;
}

/** Region names, spelt with hyphens, and their domains. The first is the default. */
export const REGIONS = {
  'us-east-1': 'mypurecloud.com',
  'eu-west-1': 'mypurecloud.ie',
  'ap-southeast-2': 'mypurecloud.com.au',
  'ap-northeast-1': 'mypurecloud.jp',
  'eu-central-1': 'mypurecloud.de',
  'us-west-2': 'usw2.pure.cloud',
  'ca-central-1': 'cac1.pure.cloud',
  'ap-northeast-2': 'apne2.pure.cloud',
  'eu-west-2': 'euw2.pure.cloud',
  'ap-south-1': 'aps1.pure.cloud',
  'us-east-2': 'use2.us-gov-pure.cloud',
  'sa-east-1': 'sae1.pure.cloud',
  'me-central-1': 'mec1.pure.cloud',
  'ap-northeast-3': 'apne3.pure.cloud',
  'eu-central-2': 'euc2.pure.cloud',
  'mx-central-1': 'mxc1.pure.cloud',
  'ap-southeast-1': 'apse1.pure.cloud',
  'eusc-de-east-1': 'edee1.eusc-pure.cloud',
} as const;

const DOMAINS: ReadonlySet<string> = new Set(Object.values(REGIONS));
const BY_NAME = new Map<string, string>(Object.entries(REGIONS));

/** A region's domain, with a port where one was given. */
export interface Region {
  readonly domain: string;
  /** What is to be said of a domain that is not listed; null for one that is. */
  readonly warning: string | null;
}

/** Domains that Genesys has regions in, and those of its own test systems, by their ends. */
const VENDOR_DOMAIN =
  /(^|\.)(pure\.cloud|us-gov-pure\.cloud|eusc-pure\.cloud|mypurecloud\.com|inindca\.com|inintca\.com)$/;

/**
 * Reads what `setEnvironment` of the SDKs takes (`mypurecloud.de`, `api.mypurecloud.de`, `https://api.mypurecloud.de/`)
 * and region names with hyphens or underscores, in any case. The hosts of other services and addresses of single
 * machines are refused with the right spelling.
 */
export function parseRegion(text: string): Parsed<Region> {
  const bare = text
    .trim()
    .toLowerCase()
    .replace(/\/+$/, '')
    .replace(/^https:\/\//, '')
    .replace(/^http:\/\//, '')
    .replace(/^api\./, '');
  const named = BY_NAME.get(bare.replaceAll('_', '-'));
  if (named !== undefined) return { ok: true, value: { domain: named, warning: null } };
  if (DOMAINS.has(bare)) return { ok: true, value: { domain: bare, warning: null } };

  const service = /^(login|apps|streaming|developer)\.(.+)$/.exec(bare);
  if (service)
    return err(`${quote(text)} is the ${service[1]} host; write the region alone: ${service[2]?.split('/')[0]}`);
  if (/[/?#@\s]/.test(bare))
    return err(`${quote(text)} is not a region; write a domain like mypurecloud.de, without path, query or user name`);
  if (isAddress(bare)) {
    return err(
      `${quote(text)} is a machine, not a region; to send everything to a gateway or test server, set [gateway] ` +
        'host, protocol and port',
    );
  }
  if (!bare.includes('.')) {
    const hint = didYouMean(bare.replaceAll('_', '-'), BY_NAME.keys());
    return err(`${quote(text)} is not a region${hint || '; write one like eu-central-1 or mypurecloud.de'}`);
  }
  if (!/^(?!-)[a-z0-9-]+(\.[a-z0-9-]+)+(:\d{1,5})?$/.test(bare))
    return err(`${quote(text)} is not a host name; write a domain like mypurecloud.de`);
  if (!URL.canParse(`https://api.${bare}`))
    return err(`${quote(text)} is not a host name; write a domain like mypurecloud.de`);
  const hint = didYouMean(bare, DOMAINS);
  return {
    ok: true,
    value: { domain: bare, warning: `${quote(bare)} is not one of the known regions; it is used as it is${hint}` },
  };
}

/**
 * What a domain that is not listed seems to be a misspelling of; '' when it is nothing of the kind, or in a domain of
 * Genesys, whose next region will look like the others. Whoever owns a misspelt one would be sent the client secret.
 */
function suspicion(domain: string): string {
  return VENDOR_DOMAIN.test(domain.replace(/:\d+$/, '')) ? '' : didYouMean(domain, DOMAINS);
}

function isAddress(host: string): boolean {
  return /^(localhost|.*\.localhost|\[.*\]|[\d.]+)(:\d+)?$/.test(host) || /^[0-9a-f]*:[0-9a-f:]+$/.test(host);
}

/** The hosts of regions, as the gateway's own and each credential's `host` name them. */
export interface RegionReader {
  readonly general: UpstreamHosts;
  /** The hosts of the region in a setting; those of `[general]` when it is not set (null). */
  hostsOf(region: string | null, key: string, report: SectionReport): UpstreamHosts;
}

/** Reads `[general]` and `[gateway]`. `listeners` are our own. */
export function readRegions(context: SectionContext, listeners: readonly ListenAddress[]): RegionReader {
  const reader = general.reader(context);
  const base = readGateway(gateway.reader(context), listeners);
  // With [gateway] nothing goes to the region's hosts.
  const acceptsUnlisted = reader.get('unsafe_unlisted_host') || base !== null;
  const read = (text: string | null, fallback: string, key: string, report: SectionReport): UpstreamHosts => {
    if (text === null) return upstreamHosts(fallback, base);
    const region = parseRegion(text);
    if (!region.ok) {
      report.problem(key, region.message);
      return upstreamHosts(fallback, base);
    }
    const { domain, warning } = region.value;
    const hint = warning === null || acceptsUnlisted ? '' : suspicion(domain);
    if (hint !== '') {
      const what = `${quote(domain)} is not a known region, and your secrets would be sent there${hint}`;
      report.problem(key, `${what} (if it is right, set general.unsafe_unlisted_host = true)`);
    } else if (warning !== null) report.warning(key, warning);
    return upstreamHosts(domain, base);
  };
  const hosts = read(reader.get('host'), REGIONS['us-east-1'], 'host', reader);
  return {
    general: hosts,
    hostsOf: (region, key, report) => read(region, hosts.domain, key, report),
  };
}

type GatewayReader = SectionReader<(typeof gateway)['options']>;

function readGateway(reader: GatewayReader, listeners: readonly ListenAddress[]): GatewayBase | null {
  const protocol = reader.get('protocol');
  const port = reader.get('port');
  const host = reader.get('host');
  const allowsPlainHttp = reader.get('unsafe_plain_http');
  const loginPrefix = reader.get('path_params_login') ?? '';
  const apiPrefix = reader.get('path_params_api') ?? '';
  if (host === null) {
    const orphan = (['port', 'path_params_login', 'path_params_api'] as const).find((key) => reader.isSet(key));
    if (orphan !== undefined || reader.isSet('host'))
      reader.warning(reader.isSet('host') ? 'host' : (orphan ?? 'host'), 'has no effect without gateway.host');
    return null;
  }
  const parsed = parseGateway(host, reader.isSet('protocol') ? protocol : null, port);
  if (!parsed.ok) {
    reader.problem('host', parsed.message);
    return null;
  }
  const { origin, path } = parsed.value;
  const own = findOwnListener(origin, listeners);
  if (own !== undefined) {
    reader.problem(
      'host',
      `${quote(origin)} is this gateway itself (server.listen ${formatListenAddress(own)}); calls would go round ` +
        'in circles',
    );
  } else if (origin.startsWith('http:') && !isLoopbackOrigin(origin) && !allowsPlainHttp) {
    reader.problem('protocol', 'http sends tokens and secrets unencrypted; use https, or say unsafe_plain_http = true');
  }
  return { origin, path, loginPrefix, apiPrefix };
}

/** A path to put before others, `''` or `/like/this`. */
function parsePathPrefix(text: string): Parsed<string> {
  const path = normalisePath(text);
  const isPlain = !/[?#%\\\s]/.test(path) && !path.split('/').some((segment) => segment === '.' || segment === '..');
  return isPlain ? ok(path) : err(`${quote(text)} is not a plain path; write it like login or /my/login`);
}

/** The `[gateway]` section, read. */
export interface GatewayBase {
  /** `https://host:port`. */
  readonly origin: string;
  /** The path in `host`, `''` or `/like/this`. */
  readonly path: string;
  readonly loginPrefix: string;
  readonly apiPrefix: string;
}

/** The hosts of a region, or the gateway in front of it: then sockets go to that host too. */
export function upstreamHosts(domain: string, gateway: GatewayBase | null): UpstreamHosts {
  if (gateway === null) {
    return {
      domain,
      api: { origin: `https://api.${domain}`, pathPrefix: '' },
      login: { origin: `https://login.${domain}`, pathPrefix: '' },
      streaming: { origin: `wss://streaming.${domain}`, pathPrefix: '' },
    };
  }
  return {
    domain,
    api: { origin: gateway.origin, pathPrefix: gateway.path + gateway.apiPrefix },
    login: { origin: gateway.origin, pathPrefix: gateway.path + gateway.loginPrefix },
    streaming: { origin: gateway.origin.replace(/^http/, 'ws'), pathPrefix: gateway.path },
  };
}

/**
 * `host` is taken as written and may hold a port and a path; a scheme in front of it must agree with `protocol`, which
 * is `https` when not set. Port 0 or null: none.
 */
export function parseGateway(
  host: string,
  protocol: 'https' | 'http' | null,
  port: number | null,
): Parsed<Pick<GatewayBase, 'origin' | 'path'>> {
  const scheme = /^(https?):\/\/(.*)$/i.exec(host);
  const written = scheme?.[1]?.toLowerCase();
  if (written !== undefined && protocol !== null && written !== protocol)
    return err(`${quote(host)} does not agree with protocol = ${protocol}`);
  const authority = scheme?.[2] ?? host;
  if (/[?#@\\\s]/.test(authority) || authority.includes('://'))
    return err('is not a host; write a name, with :port and /path where needed');
  const [, name = '', path = ''] = /^([^/]*)(\/.*)?$/.exec(authority) ?? [];
  const hasPort = /:\d+$/.test(name.replace(/^\[[^\]]*\]/, ''));
  if (hasPort && port !== null && port > 0) return err(`${quote(host)} already holds a port; leave port out`);
  const url = `${written ?? protocol ?? 'https'}://${name}${port !== null && port > 0 ? `:${port}` : ''}`;
  if (name === '' || !URL.canParse(url))
    return err(`${quote(host)} is not a host; write a name, with :port and /path where needed`);
  return ok({ origin: new URL(url).origin, path: normalisePath(path) });
}

/** `''` or `/a/b`: one slash in front, none at the end, none doubled. */
export function normalisePath(path: string): string {
  const segments = path.split('/').filter((segment) => segment !== '');
  return segments.length === 0 ? '' : `/${segments.join('/')}`;
}

/** Whether an origin is loopback in any spelling the URL parser understands. */
export function isLoopbackOrigin(origin: string): boolean {
  return isLoopbackHost(new URL(origin).hostname);
}

/**
 * The listener an origin leads back to, if it is one of ours. Loopback in any spelling counts, and a listener on all
 * addresses.
 */
export function findOwnListener(origin: string, listeners: readonly ListenAddress[]): ListenAddress | undefined {
  const url = new URL(origin);
  const port = Number(url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : url.port);
  const isHere = isLoopbackHost(url.hostname) || isWildcardHost(url.hostname);
  return listeners.find((address) => {
    if (address.kind !== 'tcp' || address.port === 0 || address.port !== port) return false;
    const isLocal = isLoopbackHost(address.host) || isWildcardHost(address.host);
    return (isHere && isLocal) || address.host.toLowerCase() === url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  });
}
