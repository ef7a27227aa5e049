// The index of sessions over Redis or Valkey.

import type { RedisConnection } from '../../redis/connection.ts';
import { RedisIndex } from '../credentials/store/redis-index.ts';
import { ownerKey } from './caller.ts';
import { SESSION_LIMITS, type SessionIndex, type SessionLimits, type SurplusSession } from './session-index.ts';

/** What it works with. */
export interface RedisSessionIndexDeps {
  readonly connection: Pick<RedisConnection, 'prefix' | 'script' | 'onGap'>;
  /** Makes an owner unreadable, the same at all instances. */
  readonly mark: (owner: string) => string;
}

/** Closes nothing. */
export class RedisSessionIndex implements SessionIndex {
  readonly #deps: RedisSessionIndexDeps;
  readonly #index: RedisIndex;

  constructor(deps: RedisSessionIndexDeps) {
    this.#deps = deps;
    this.#index = new RedisIndex(deps.connection, 'sess', SESSION_LIMITS.max);
  }

  async note(hash: string, owner: string, { max, idleMs }: SessionLimits): Promise<readonly SurplusSession[]> {
    const surplus = await this.#index.note(hash, this.#deps.mark(owner), idleMs, max);
    return surplus.map((one) => ({ hash: one.id, mark: one.owner }));
  }

  async removeSurplus({ hash, mark }: SurplusSession): Promise<void> {
    await this.#index.drop({ id: hash, owner: mark });
  }

  async remove(hash: string, owner: string): Promise<void> {
    await this.#index.drop({ id: hash, owner: this.#deps.mark(owner) });
  }

  async of(client: string): Promise<readonly string[]> {
    return this.#index.of(this.#deps.mark(ownerKey({ client, authFingerprint: null })));
  }

  onGap(listener: () => void): void {
    this.#deps.connection.onGap(() => listener());
  }
}
