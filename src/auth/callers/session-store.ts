// Sessions across a restart: one sealed entry of the token store each, where the store is a durable one. Knows no
// handles, only their hashes.

import { Secret } from '../../secret.ts';
import type { StoreKey, TokenStore } from '../credentials/store/store.ts';
import { createToken, type Token } from '../credentials/token-source.ts';
import type { SessionTerms } from './session.ts';

/** What is kept of a session. */
export interface StoredSession {
  readonly hash: string;
  readonly terms: SessionTerms;
  readonly home: string;
  readonly token: Token | null;
  readonly refreshToken: Secret | null;
  /** Epoch ms, exact to an hour. */
  readonly usedAt: number;
}

/** The kept sessions. All methods throw StoreError only. */
export interface SessionStore {
  save(session: StoredSession): Promise<void>;
  remove(hash: string): Promise<void>;
  /** All that can be read, in no order. */
  load(): Promise<readonly StoredSession[]>;
}

const PREFIX = 'session-';
const keyOf = (name: string): StoreKey => ({ name, clientId: '', host: '' });
const nameOf = (hash: string) => PREFIX + hash.slice(0, 40);

/** Over any durable token store; closes nothing. */
export function createSessionStore(store: TokenStore): SessionStore {
  return {
    async save(session) {
      const { hash, terms, home, token, refreshToken, usedAt } = session;
      const key = keyOf(nameOf(hash));
      const { secret, ...rest } = terms;
      const text = JSON.stringify({
        ...{ hash, usedAt, home, ...rest },
        secret: secret instanceof Secret ? { own: secret.reveal() } : secret,
        accessToken: token?.accessToken.reveal() ?? null,
      });
      const present = await store.get(key);
      await store.put(
        key,
        {
          accessToken: new Secret(text),
          refreshToken,
          expiresAt: token?.expiresAt ?? 0,
          obtainedAt: token?.obtainedAt ?? 0,
          ...{ seed: null, generation: 0 },
        },
        { expectedVersion: present?.version ?? null },
      );
    },
    remove: (hash) => store.delete(keyOf(nameOf(hash))),
    async load() {
      const sessions: StoredSession[] = [];
      for (const name of await store.list()) {
        if (!name.startsWith(PREFIX)) continue;
        const entry = await store.get(keyOf(name)).catch(() => null);
        const text = entry?.value.accessToken?.reveal();
        if (entry === null || text === undefined) continue;
        // One of a version that kept no proof is an anonymous caller's, or nobody's.
        const {
          hash,
          usedAt,
          home,
          secret,
          accessToken,
          client,
          proof = null,
          credential,
          clientId,
        } = JSON.parse(text);
        const { expiresAt, obtainedAt, refreshToken } = entry.value;
        const own = typeof secret?.own === 'string' ? new Secret(secret.own) : secret;
        const terms: SessionTerms = { client, proof, credential, clientId, secret: own };
        const token =
          accessToken === null ? null : createToken({ accessToken: new Secret(accessToken), obtainedAt, expiresAt });
        sessions.push({ hash, terms, home, token, refreshToken, usedAt });
      }
      return sessions;
    },
  };
}
