// The lists of addresses that a gateway listens on: how one is read, which listeners serve the admin pages, and which of
// them a probe asks.

import {
  type CallableAddress,
  callableAddress,
  formatListenAddress,
  isReachable,
  type ListenAddress,
  parseListenAddress,
} from './listen-address.ts';
import { quote } from './problem.ts';

/** The keys of `[server]` that name listeners. */
export type ListenerKey = 'listen' | 'admin_listen' | 'health_listen';

/** Where callers connect if nothing else is said. */
export const USUAL_LISTEN = '127.0.0.1:8080';

/** The addresses that a list names; each that is wrong, or there twice, is left out and told in `problems`. */
export function parseListeners(
  key: ListenerKey,
  items: readonly string[],
): { readonly addresses: readonly ListenAddress[]; readonly problems: readonly string[] } {
  const addresses: ListenAddress[] = [];
  const problems: string[] = [];
  if (key !== 'listen' && items.length === 1 && items[0]?.toLowerCase() === 'none') return { addresses, problems };
  for (const text of items) {
    const parsed = parseListenAddress(text);
    if (!parsed.ok) problems.push(parsed.message);
    else if (isListed(addresses, parsed.value)) problems.push(`${quote(text)} is there twice`);
    else addresses.push(parsed.value);
  }
  return { addresses, problems };
}

/** Whether an address is in a list; port 0 is another one each time. */
export function isListed(addresses: readonly ListenAddress[], wanted: ListenAddress): boolean {
  if (wanted.kind === 'tcp' && wanted.port === 0) return false;
  return addresses.some((address) =>
    address.kind === 'fd' && wanted.kind === 'fd'
      ? address.fd === wanted.fd
      : formatListenAddress(address) === formatListenAddress(wanted),
  );
}

/** The admin listeners where none are set: those for calls, unless other machines reach one. */
export function usualAdminListeners(listen: readonly ListenAddress[]): readonly ListenAddress[] {
  return listen.some(isReachable) ? [] : listen;
}

/** What a gateway listens on. */
export interface Listeners {
  readonly listen: readonly ListenAddress[];
  readonly adminListen: readonly ListenAddress[];
  readonly healthListen: readonly ListenAddress[];
}

/** Where a probe can ask: at a health listener, which never has TLS, and at one for the admin pages or calls. */
export function probedAddresses({ listen, adminListen, healthListen }: Listeners): {
  readonly health: CallableAddress | undefined;
  readonly other: CallableAddress | undefined;
} {
  return { health: firstAddress(healthListen), other: firstAddress([...adminListen, ...listen]) };
}

/** The first of some listeners that can be called. */
export function firstAddress(listeners: readonly ListenAddress[]): CallableAddress | undefined {
  return listeners.map(callableAddress).find((address) => address !== undefined);
}
