// The limits that not all calls of a credential draw on: a service's, an organisation's, a route's. A route joins one
// when a call to it was refused for it; from then on the calls of all its routes wait together.

import { credentialOfLimit, type UpstreamRequest } from '../call.ts';
import { type LimitNotice, type LimitScope, limitName } from './limit-notice.ts';
import type { PlatformLimit } from './platform-limit.ts';
import { MINUTE_MS } from './rate-window.ts';

/** What of a call decides by which limits it is counted. */
export type LimitedCall = Pick<UpstreamRequest, 'limitKey' | 'method' | 'target'>;

const MOST_LANES = 1_000;
/** Memberships of routes, over all lanes. */
const MOST_ROUTES = 5_000;
const MOST_LANES_OF_ROUTE = 8;

/** One such limit. */
export interface Lane {
  readonly limit: PlatformLimit;
  /** The platform's name, `directory:user.rate.per.minute`; null where it has none. */
  readonly name: string | null;
  /** Whose it is: a limit key, or an organisation's. */
  readonly owner: string;
  /** Tells it apart from the owner's others: the namespace, or where there is none the route, and the key. */
  readonly mark: string;
  /** Method and route of those that have joined. */
  readonly routes: ReadonlySet<string>;
}

interface OwnLane extends Lane {
  owner: string;
  readonly routes: Set<string>;
}

/** Makes the limit of a lane, and fits it to what its lane is now: a change of owner changes its words and who shares. */
export interface LaneMaker {
  make(scope: LimitScope): PlatformLimit;
  fit(lane: Lane): void;
}

/** `routeOf` gives method and route template: few different ones. */
export interface LanesDeps {
  readonly maker: LaneMaker;
  readonly routeOf: (method: string, target: string) => string;
  /** The organisations of credentials, as far as the configuration tells. */
  readonly organizations: ReadonlyMap<string, string>;
  readonly now: () => number;
}

const NONE: readonly PlatformLimit[] = [];
const ORGANIZATION = 'organization ';

/** The lanes of all credentials. */
export class Lanes {
  readonly #deps: LanesDeps;
  /** By owner and mark. */
  readonly #lanes = new Map<string, OwnLane>();
  /** By owner and route, in the order of the lanes. */
  readonly #ofRoutes = new Map<string, PlatformLimit[]>();
  /** The organisations of credentials, as the platform told them. */
  readonly #organizations = new Map<string, string>();

  constructor(deps: LanesDeps) {
    this.#deps = deps;
  }

  /** All of them. */
  all(): Iterable<Lane> {
    return this.#lanes.values();
  }

  /** Those that the call's route has joined, the organisation's last. */
  of({ limitKey, method, target }: LimitedCall): readonly PlatformLimit[] {
    if (this.#ofRoutes.size === 0) return NONE;
    const route = this.#deps.routeOf(method, target);
    const own = this.#ofRoutes.get(`${limitKey}\n${route}`) ?? NONE;
    const organization = this.organizationOf(limitKey);
    if (organization === undefined) return own;
    const shared = this.#ofRoutes.get(`${ORGANIZATION}${organization}\n${route}`);
    if (shared === undefined) return own;
    return own.length === 0 ? shared : [...own, ...shared];
  }

  /** The lane of the limit that refused the call, which its route joins. */
  join({ limitKey, method, target }: LimitedCall, notice: LimitNotice): Lane {
    const route = this.#deps.routeOf(method, target);
    const organization = notice.scope === 'organization' ? this.organizationOf(limitKey) : undefined;
    const owner = organization === undefined ? limitKey : ORGANIZATION + organization;
    const mark = `${notice.namespace ?? route}\n${notice.key ?? ''}`;
    let lane = this.#lanes.get(`${owner}\n${mark}`);
    if (lane === undefined) {
      this.#thinOut();
      const limit = this.#deps.maker.make(notice.scope);
      lane = { limit, name: limitName(notice), owner, mark, routes: new Set() };
      this.#lanes.set(`${owner}\n${mark}`, lane);
    }
    this.#addRoute(lane, route);
    this.#deps.maker.fit(lane);
    return lane;
  }

  /** The id by which a limit key's organisation is known; undefined where it is not. */
  organizationOf(limitKey: string): string | undefined {
    const { organizations } = this.#deps;
    if (this.#organizations.size === 0 && organizations.size === 0) return undefined;
    const credential = credentialOfLimit(limitKey);
    return this.#organizations.get(credential) ?? organizations.get(credential);
  }

  /** Takes note of whose a credential is, null when that is not known any more: its organisation's limits are shared. */
  setOrganization(credential: string, id: string | null): void {
    if (id === null) {
      this.#organizations.delete(credential);
      return;
    }
    if (this.#organizations.get(credential) === id) return;
    const before = this.#deps.organizations.get(credential);
    this.#organizations.set(credential, id);
    for (const lane of [...this.#lanes.values()]) {
      if (lane.limit.scope !== 'organization') continue;
      const isOwn = isOrganization(lane.owner)
        ? lane.owner === ORGANIZATION + before
        : credentialOfLimit(lane.owner) === credential;
      if (isOwn) this.#give(lane, ORGANIZATION + id);
    }
  }

  /** Goes on with the lanes of the configuration before, of the credentials that are kept. */
  takeOver(previous: Lanes, isKept: (credential: string) => boolean): void {
    const kept = new Set<string>();
    for (const [credential, id] of previous.#organizations) {
      if (!isKept(credential)) continue;
      this.#organizations.set(credential, id);
      kept.add(ORGANIZATION + id);
    }
    for (const [credential, id] of this.#deps.organizations) if (isKept(credential)) kept.add(ORGANIZATION + id);
    for (const [key, lane] of previous.#lanes) {
      if (!(isOrganization(lane.owner) ? kept.has(lane.owner) : isKept(credentialOfLimit(lane.owner)))) continue;
      const own = { ...lane, routes: new Set<string>() };
      this.#lanes.set(key, own);
      for (const route of lane.routes) this.#addRoute(own, route);
      this.#deps.maker.fit(own);
    }
  }

  #addRoute(lane: OwnLane, route: string): void {
    if (lane.routes.has(route)) return;
    const key = `${lane.owner}\n${route}`;
    if (!this.#ofRoutes.has(key) && this.#ofRoutes.size >= MOST_ROUTES) this.#forgetRoute();
    lane.routes.add(route);
    const limits: PlatformLimit[] = [];
    // In the order in which the lanes were made, whichever the route met first: calls take places in one after the
    // other, and those of two routes that did so crosswise could wait for each other.
    for (const { owner, routes, limit } of this.#lanes.values())
      if (owner === lane.owner && routes.has(route)) limits.push(limit);
    this.#ofRoutes.set(key, limits);
    if (limits.length <= MOST_LANES_OF_ROUTE) return;
    const [gone] = limits.splice(limits[0] === lane.limit ? 1 : 0, 1);
    this.#leave(key, gone as PlatformLimit);
  }

  /** The membership that is oldest. */
  #forgetRoute(): void {
    for (const [key, limits] of this.#ofRoutes) {
      this.#ofRoutes.delete(key);
      for (const limit of limits) this.#leave(key, limit);
      return;
    }
  }

  /** A lane without routes is none. */
  #leave(key: string, limit: PlatformLimit): void {
    const route = key.slice(key.indexOf('\n') + 1);
    for (const lane of this.#lanes.values()) {
      if (lane.limit !== limit) continue;
      lane.routes.delete(route);
      if (lane.routes.size === 0) this.#lanes.delete(`${lane.owner}\n${lane.mark}`);
      return;
    }
  }

  #forget(lane: OwnLane): void {
    this.#lanes.delete(`${lane.owner}\n${lane.mark}`);
    for (const route of lane.routes) {
      const key = `${lane.owner}\n${route}`;
      const left = (this.#ofRoutes.get(key) ?? []).filter((limit) => limit !== lane.limit);
      if (left.length === 0) this.#ofRoutes.delete(key);
      else this.#ofRoutes.set(key, left);
    }
  }

  /** Makes a lane another owner's, or part of the one that the owner has already. */
  #give(lane: OwnLane, owner: string): void {
    this.#forget(lane);
    const routes = [...lane.routes];
    lane.routes.clear();
    let known = this.#lanes.get(`${owner}\n${lane.mark}`);
    if (known === undefined) {
      lane.owner = owner;
      this.#lanes.set(`${owner}\n${lane.mark}`, lane);
      known = lane;
    } else known.limit.absorb(lane.limit, this.#deps.now(), MINUTE_MS);
    for (const route of routes) this.#addRoute(known, route);
    this.#deps.maker.fit(known);
  }

  /**
   * Makes room for a tenth more where there is none, so that it is not looked for again at once. What is forgotten of a
   * limit costs one more refusal.
   */
  #thinOut(): void {
    if (this.#lanes.size < MOST_LANES) return;
    const now = this.#deps.now();
    const isIdle = ({ limit: { limiter } }: OwnLane) => limiter.pausedUntil <= now && limiter.window.used(now) === 0;
    for (const mayGo of [isIdle, () => true]) {
      for (const lane of this.#lanes.values()) {
        if (this.#lanes.size <= MOST_LANES * 0.9) return;
        if (lane.limit.limiter.waiting === 0 && mayGo(lane)) this.#forget(lane);
      }
    }
  }
}

/** Whether a lane's owner is an organisation: names of credentials have no blanks. */
function isOrganization(owner: string): boolean {
  return owner.startsWith(ORGANIZATION);
}

/** The id of the organisation that owns a lane; null for a lane of a credential. */
export function organizationOfOwner(owner: string): string | null {
  return isOrganization(owner) ? owner.slice(ORGANIZATION.length) : null;
}
