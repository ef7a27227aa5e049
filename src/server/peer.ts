// The address behind a request: the socket's, or what trusted proxies say in X-Forwarded-For. For slowing down only; it
// gives no rights.

import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** Makes the function; `trusted` are addresses and CIDR ranges. Throws a TypeError for what is neither. */
export function createPeerOf(trusted: readonly string[]): (request: IncomingMessage) => string {
  const proxies = new BlockList();
  for (const entry of trusted) {
    const [address = '', bits] = entry.trim().split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (isIP(address) === 0) throw new TypeError('server.trusted_proxies takes addresses and ranges like 10.0.0.0/8');
    if (bits === undefined) proxies.addAddress(address, family);
    else proxies.addSubnet(address, Number(bits), family);
  }
  const isTrusted = (address: string) =>
    isIP(address) !== 0 && proxies.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

  return (request) => {
    const direct = withoutMapping(request.socket.remoteAddress ?? 'local');
    if (trusted.length === 0 || !isTrusted(direct)) return direct;
    // From the right: each trusted proxy vouches for the one before it, and the first that is not trusted is the peer.
    const forwarded = request.headers['x-forwarded-for'];
    const chain = (Array.isArray(forwarded) ? forwarded.join(',') : (forwarded ?? ''))
      .split(',')
      .map((part) => withoutMapping(withoutPort(part.trim())));
    for (const address of chain.reverse()) {
      if (isIP(address) === 0) return direct;
      if (!isTrusted(address)) return address;
    }
    return direct;
  };
}

/** Some proxies tell the port as well: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(text: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\](?::\d+)?|(\d[\d.]*):\d+)$/.exec(text) ?? [];
  return bracketed ?? plain ?? text;
}

function withoutMapping(address: string): string {
  return address.toLowerCase().startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}
