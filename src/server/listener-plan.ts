// The listeners of a gateway: what each serves, what it turns out to be bound to, and whether a configuration would let
// others use it anonymously. It opens nothing.

import type { AddressInfo } from 'node:net';
import type { Arrival } from '../auth/callers/caller.ts';
import type { Exposure } from '../auth/callers/clients.ts';
import { canProve, ExposureError, exposedSetting, exposures, type PlacedListener } from '../config/access-rules.ts';
import type { GatewayConfig, ListenAddress } from '../config/gateway-config.ts';
import { formatListenAddress, isLocalAddress, isReachable } from '../config/listen-address.ts';
import type { Log } from '../logging/log.ts';

/** What a listener serves. The data listener may serve administration too. */
export interface ListenerRole extends Arrival {
  readonly data: boolean;
  readonly admin: boolean;
  readonly health: boolean;
  /** The peer of all its calls where they have no address: `unix:` and the path of its Unix socket. */
  readonly peerName?: string | undefined;
}

/** A listener to be opened. Its role is known in full when the socket is bound. */
export interface PlannedListener {
  readonly address: ListenAddress;
  readonly role: ListenerRole;
}

interface Listener extends PlannedListener {
  readonly role: { data: boolean; admin: boolean; health: boolean; isLocal: boolean; peerName: string | undefined };
  /** The address it is bound to; null for a Unix socket, and before. */
  boundTo: string | null;
  isBound: boolean;
}

/** Data, admin and health listeners; one that serves data and administration is opened once. */
export class ListenerPlan implements Exposure {
  /** The configuration they are opened by: listeners stay as it says. */
  readonly #started: GatewayConfig;
  readonly #listeners = new Map<string, Listener>();

  constructor(started: GatewayConfig) {
    this.#started = started;
    const { listen, adminListen, healthListen } = started.server;
    for (const address of listen) this.#add(address, 'data');
    for (const address of adminListen) this.#add(address, 'admin');
    for (const address of healthListen) this.#add(address, 'health');
  }

  /** In the order in which they are opened. */
  get listeners(): readonly PlannedListener[] {
    return [...this.#listeners.values()];
  }

  /** Whether others than users of this machine reach a listener where callers authenticate. */
  get isReachable(): boolean {
    return this.#placed().some(({ isReachable, data, admin }) => isReachable && (data || admin));
  }

  /**
   * Takes what a socket is really bound to into its role. Throws an ExposureError when others reach it and need not
   * authenticate.
   */
  settle({ address }: PlannedListener, bound: AddressInfo | string): void {
    const listener = [...this.#listeners.values()].find((one) => one.address === address) as Listener;
    const { role } = listener;
    role.isLocal = isLocalAddress(bound);
    // An inherited one, whose path is not known.
    if (typeof bound === 'string') role.peerName ??= 'unix';
    listener.isBound = true;
    if (address.kind !== 'unix' && typeof bound === 'object') listener.boundTo = `${bound.address} port ${bound.port}`;
    // Administration that nobody asked for is served where nobody else can reach it.
    if (!role.isLocal && this.#started.server.isAdminListenSet === false) role.admin = false;
    // A setting without effect is no risk.
    const refused = exposures([placed(listener)], this.#started).find(
      ({ isRefused, key }) => isRefused && key !== 'anonymous_credentials',
    );
    if (refused !== undefined) throw new ExposureError(`${exposedSetting(refused)}: ${refused.atStart}`);
  }

  /** Throws an ExposureError for a configuration under which callers of these listeners need not authenticate. */
  assertMayServe({ clients, server }: GatewayConfig): void {
    const served = { clients, server: { ...server, tls: this.#started.server.tls } };
    const refused = exposures(this.#placed(), served).find(({ isRefused }) => isRefused);
    if (refused !== undefined) throw new ExposureError(`${exposedSetting(refused)}: ${refused.atReload}`);
  }

  /**
   * Warns where a configuration serves anonymous callers. Whoever has an account on this machine reaches a loopback
   * address; a Unix socket has its owner. Not where anonymous use was configured. `addresses` are those that were opened.
   */
  warnOfAnonymousUse(config: GatewayConfig, addresses: readonly string[], log: Log): void {
    if (!isAnonymousServed(config)) return;
    const { anonymousCredentials, unsafeAllowAnonymous } = config.server;
    const isAskedFor = anonymousCredentials !== null || unsafeAllowAnonymous;
    const { listeners } = this;
    const open = addresses.filter((_, at) => {
      const { address, role } = listeners[at] as PlannedListener;
      return (
        (role.data || role.admin) && (role.isLocal ? !isAskedFor && address.kind !== 'unix' : unsafeAllowAnonymous)
      );
    });
    if (open.length === 0) return;
    const isWide = unsafeAllowAnonymous && listeners.some(({ role }) => !role.isLocal && (role.data || role.admin));
    const advice = isWide
      ? 'everybody who reaches these addresses can use the credentials of this gateway: make a [client.NAME] with ' +
        '`gcg client add`'
      : 'every local user can use the credentials of this gateway: make a [client.NAME] with `gcg client add`, or ' +
        'listen on a Unix socket';
    log.warn({ addresses: open, advice }, 'anonymous callers are served');
  }

  #add(address: ListenAddress, purpose: 'data' | 'admin' | 'health'): void {
    // Each port 0 is a port of its own; the loader has refused any other address that is to serve health and more.
    const key = `${purpose === 'health'} ${JSON.stringify(address)}`;
    const peerName = address.kind === 'unix' ? `unix:${address.path}` : undefined;
    const role = { data: false, admin: false, health: false, isLocal: false, peerName };
    const listener = this.#listeners.get(key) ?? { address, role, boundTo: null, isBound: false };
    listener.role[purpose] = true;
    this.#listeners.set(key, listener);
  }

  #placed(): PlacedListener[] {
    return [...this.#listeners.values()].map(placed);
  }
}

/** A listener as the rules on exposure see it. */
function placed({ address, role: { data, admin, isLocal }, isBound, boundTo }: Listener): PlacedListener {
  const isExpected = address.kind === 'tcp' && isReachable(address) === !isLocal;
  const name = formatListenAddress(address) + (boundTo === null || isExpected ? '' : ` (${boundTo})`);
  return { name, isReachable: isBound ? !isLocal : isReachable(address), data, admin };
}

/** Whether anonymous callers are served anywhere. */
export function isAnonymousServed(config: GatewayConfig): boolean {
  return config.server.anonymousCredentials !== null || !canProve(config);
}
