// Reads [general] host and [gateway]: where calls go. Refuses a gateway that is ourselves, and plain http to other
// machines.

import type { ListenAddress, UpstreamHosts } from '../gateway-config.ts';
import { formatListenAddress } from '../listen-address.ts';
import { quote } from '../problem.ts';
import type { SectionReader } from '../reader.ts';
import {
  findOwnListener,
  type GatewayBase,
  isLoopbackOrigin,
  normalisePath,
  parseGateway,
  parseRegion,
  REGIONS,
  upstreamHosts,
} from '../regions.ts';

/** Makes the hosts of a region; a credential with a `host` of its own calls it again. */
export interface UpstreamReader {
  readonly general: UpstreamHosts;
  /** The hosts for the region in a key of a section; those of `[general]` when it is not set. */
  hostsOf(reader: SectionReader, key: string): UpstreamHosts;
}

/** Reads both sections. `listeners` are our own. */
export function readUpstream(
  general: SectionReader,
  gateway: SectionReader,
  listeners: readonly ListenAddress[],
): UpstreamReader {
  const base = readGateway(gateway, listeners);
  const read = (reader: SectionReader, key: string, fallback: string): UpstreamHosts => {
    const text = reader.text(key);
    if (text === null) return upstreamHosts(fallback, base);
    const region = parseRegion(text);
    if (!region.ok) {
      reader.problem(key, region.message);
      return upstreamHosts(fallback, base);
    }
    if (region.value.warning !== null) reader.warning(key, region.value.warning);
    return upstreamHosts(region.value.domain, base);
  };
  const hosts = read(general, 'host', REGIONS['us-east-1']);
  return { general: hosts, hostsOf: (reader, key) => read(reader, key, hosts.domain) };
}

function readGateway(gateway: SectionReader, listeners: readonly ListenAddress[]): GatewayBase | null {
  const protocol = gateway.choice('protocol', ['https', 'http']);
  const port = gateway.maybeInteger('port');
  const host = gateway.text('host');
  const allowsPlainHttp = gateway.boolean('unsafe_plain_http');
  const loginPrefix = readPathParam(gateway, 'path_params_login');
  const apiPrefix = readPathParam(gateway, 'path_params_api');
  if (host === null) {
    const orphan = ['port', 'path_params_login', 'path_params_api'].find((key) => gateway.isSet(key));
    if (orphan !== undefined || gateway.isSet('host'))
      gateway.warning(gateway.isSet('host') ? 'host' : (orphan ?? 'host'), 'has no effect without gateway.host');
    return null;
  }
  const parsed = parseGateway(host, gateway.isSet('protocol') ? protocol : null, port);
  if (!parsed.ok) {
    gateway.problem('host', parsed.message);
    return null;
  }
  const { origin, path } = parsed.value;
  const own = findOwnListener(origin, listeners);
  if (own !== undefined) {
    gateway.problem(
      'host',
      `${quote(origin)} is this gateway itself (server.listen ${formatListenAddress(own)}); calls would go round ` +
        'in circles',
    );
  } else if (origin.startsWith('http:') && !isLoopbackOrigin(origin) && !allowsPlainHttp) {
    gateway.problem(
      'protocol',
      'http sends tokens and secrets unencrypted; use https, or say unsafe_plain_http = true',
    );
  }
  return { origin, path, loginPrefix, apiPrefix };
}

function readPathParam(gateway: SectionReader, key: string): string {
  const text = gateway.text(key);
  if (text === null) return '';
  const path = normalisePath(text);
  if (/[?#%\\\s]/.test(path) || path.split('/').some((segment) => segment === '.' || segment === '..')) {
    gateway.problem(key, `${quote(text)} is not a plain path; write it like login or /my/login`);
    return '';
  }
  return path;
}
