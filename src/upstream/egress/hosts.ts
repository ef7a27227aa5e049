// Fixed name-to-address pairs in front of DNS, as /etc/hosts has them. Not used for names that a proxy resolves.

import { lookup as dnsLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';

/** A `lookup` for node:net that knows `hosts` and asks the system for the rest. */
export function hostsLookup(hosts: Readonly<Record<string, string>>): LookupFunction {
  const known = new Map(Object.entries(hosts).map(([name, address]) => [name.toLowerCase(), address]));
  return (name, options, callback) => {
    const address = known.get(name.toLowerCase());
    if (address === undefined) return dnsLookup(name, options, callback);
    const family = isIP(address);
    if (options.family === 4 && family !== 4) return process.nextTick(() => callback(noAddress(name), '', 0));
    process.nextTick(() => (options.all ? callback(null, [{ address, family }]) : callback(null, address, family)));
  };
}

/** As the system says it of a name that has no address of the family that was asked for. */
function noAddress(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname });
}
