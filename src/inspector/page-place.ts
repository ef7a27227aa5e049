// Where the live page is, by a configuration, and who may use it: for `check`, the start and the status.

import type { GatewayConfig } from '../config/gateway-config.ts';
import { formatListenAddress, isReachable } from '../config/listen-address.ts';

/** Where the page is below the address of an admin listener. */
export const PAGE_PATH = '/-/ui/';

/** How a refusal begins that asks for the key of the start. */
export const KEY_OF_START = 'looking at calls needs the key of this start';

/** Whether calls can be looked at by some listener, as far as that is known before they are open. */
export function isInspectorOn({ inspector, server }: GatewayConfig): boolean {
  return inspector.enabled ?? server.adminListen.some((address) => !isReachable(address));
}

/** Whether an admin listener serves the page: by itself only where no other machine reaches it. */
export function isPageServed({ inspector }: Pick<GatewayConfig, 'inspector'>, isLocal: boolean): boolean {
  return inspector.enabled ?? isLocal;
}

/** The addresses of the page, as they are known before listeners are open. */
export function plannedPages(config: GatewayConfig): string[] {
  const scheme = config.server.tls === null ? 'http' : 'https';
  return config.server.adminListen
    .filter((address) => isPageServed(config, !isReachable(address)))
    .map((address) =>
      address.kind === 'tcp'
        ? `${scheme}://${formatListenAddress(address)}${PAGE_PATH}`
        : `${formatListenAddress(address)} ${PAGE_PATH}`,
    );
}

/** Whether callers have anything to prove themselves with: where not, the key of the start is what opens the page. */
export function takesKeyOfStart({ clients, server }: Pick<GatewayConfig, 'clients' | 'server'>): boolean {
  return clients.length === 0 && (server.tls === null || server.tls.clientCaFile === null);
}

/** Who may look at calls, in words. */
export function viewersInWords(config: Pick<GatewayConfig, 'clients' | 'server'>): string {
  if (takesKeyOfStart(config)) return 'whoever runs it, by `gcg open`';
  const all = config.clients.filter(({ isAdmin }) => isAdmin).map(({ name }) => name);
  const own = config.clients.filter(({ isAdmin, inspect }) => !isAdmin && inspect === 'own').map(({ name }) => name);
  const words = [...all, ...(own.length === 0 ? [] : [`${own.join(', ')} (own calls)`])].join(', ');
  return words === '' ? 'nobody: it takes a client with admin = true' : words;
}
