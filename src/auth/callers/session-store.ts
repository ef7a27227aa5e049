// Keeps sessions over a restart: one sealed entry of the token store each, where that is durable. Knows no handles,
// only their hashes.

import { Secret } from '../../secret.ts';
import type { StoreKey, TokenStore } from '../credentials/store/store.ts';
import { createToken, type Token } from '../credentials/token-source.ts';
import type { SessionOwner } from './session.ts';

/** What is stored of a session. */
export interface StoredSession {
  readonly hash: string;
  readonly owner: SessionOwner;
  readonly issuer: string;
  readonly token: Token | null;
  readonly refreshToken: Secret | null;
  /** The platform's id of the user, where it is known. */
  readonly user?: string | null;
  /** Epoch ms, exact to an hour. */
  readonly usedAt: number;
}

/** The stored sessions. All methods throw StoreError only. */
export interface SessionStore {
  save(session: StoredSession): Promise<void>;
  remove(hash: string): Promise<void>;
  /** All that can be read, in no order. */
  load(): Promise<readonly StoredSession[]>;
}

const PREFIX = 'session-';
const keyOf = (name: string): StoreKey => ({ name, clientId: '', host: '' });
const nameOf = (hash: string) => PREFIX + hash.slice(0, 40);

/** Makes it over any durable token store; closes nothing. */
export function createSessionStore(store: TokenStore): SessionStore {
  return {
    async save(session) {
      const { hash, owner, issuer, token, refreshToken, usedAt, user } = session;
      const { client, authFingerprint, credential, clientId, secret } = owner;
      const key = keyOf(nameOf(hash));
      // `home` and `proof` are the names that earlier versions gave them.
      const text = JSON.stringify({
        hash,
        usedAt,
        home: issuer,
        client,
        proof: authFingerprint,
        credential,
        clientId,
        user,
        secret: secret instanceof Secret ? { own: secret.reveal() } : secret,
        accessToken: token?.accessToken.reveal() ?? null,
      });
      const existing = await store.get(key);
      await store.replace(
        key,
        {
          accessToken: new Secret(text),
          refreshToken,
          expiresAt: token?.expiresAt ?? 0,
          obtainedAt: token?.obtainedAt ?? 0,
          initialFingerprint: null,
          generation: 0,
        },
        { expectedVersion: existing?.version ?? null },
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
        const { hash, usedAt, home, secret, accessToken, client, proof, credential, clientId, user } = JSON.parse(text);
        const { expiresAt, obtainedAt, refreshToken } = entry.value;
        const own = typeof secret?.own === 'string' ? new Secret(secret.own) : secret;
        // Version 0.1.0 may have kept no fingerprint: such a session is an anonymous caller's, or nobody can use it.
        const owner: SessionOwner = { client, authFingerprint: proof ?? null, credential, clientId, secret: own };
        const token =
          accessToken === null ? null : createToken({ accessToken: new Secret(accessToken), obtainedAt, expiresAt });
        sessions.push({ hash, owner, issuer: home, token, refreshToken, usedAt, ...(user !== undefined && { user }) });
      }
      return sessions;
    },
  };
}
