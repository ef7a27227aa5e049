// What is stored of a session: one sealed entry of the token store each, where that is durable. Knows no handles, only
// their hashes.

import { Secret } from '../../secret.ts';
import { isEnded, type StoredToken, type StoreKey, type TokenStore } from '../credentials/store/store.ts';
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
  /** Its place among what was stored of it; 0 where nobody shares it. */
  readonly generation?: number;
}

/** The stored sessions of a store that no other process uses at the same time. All methods throw StoreError only. */
export interface SessionStore {
  save(session: StoredSession): Promise<void>;
  remove(hash: string): Promise<void>;
  /** All that can be read, in no order. */
  load(): Promise<readonly StoredSession[]>;
}

const PREFIX = 'session-';

/** What a session is stored under. */
export function sessionKey(hash: string): StoreKey {
  return keyOf(PREFIX + hash.slice(0, 40));
}

const keyOf = (name: string): StoreKey => ({ name, clientId: '', host: '' });

/** A session as the token store takes it. */
export function storedOfSession(session: StoredSession): StoredToken {
  const { hash, owner, issuer, token, refreshToken, usedAt, user, generation = 0 } = session;
  const { client, authFingerprint, credential, clientId, secret } = owner;
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
  return {
    accessToken: new Secret(text),
    refreshToken,
    expiresAt: token?.expiresAt ?? 0,
    obtainedAt: token?.obtainedAt ?? 0,
    initialFingerprint: null,
    generation,
  };
}

/** The session in an entry; null where it was ended, or is none. */
export function sessionOfStored(value: StoredToken): StoredSession | null {
  const text = value.accessToken?.reveal();
  if (text === undefined || isEnded(value)) return null;
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(text);
  } catch {
    // The entry of something else.
    return null;
  }
  const { hash, usedAt, home, secret, accessToken, client, proof, credential, clientId, user } = fields;
  if (typeof hash !== 'string' || typeof home !== 'string' || typeof clientId !== 'string') return null;
  const { expiresAt, obtainedAt, refreshToken, generation } = value;
  // Version 0.1.0 may have kept no fingerprint: such a session is an anonymous caller's, or nobody can use it.
  const owner: SessionOwner = {
    client: textOrNull(client),
    authFingerprint: textOrNull(proof),
    credential: textOrNull(credential),
    clientId,
    secret: secretOf(secret),
  };
  const token =
    typeof accessToken === 'string'
      ? createToken({ accessToken: new Secret(accessToken), obtainedAt, expiresAt })
      : null;
  return {
    hash,
    owner,
    issuer: home,
    token,
    refreshToken,
    generation,
    usedAt: typeof usedAt === 'number' ? usedAt : 0,
    ...((typeof user === 'string' || user === null) && { user }),
  };
}

const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null);

function secretOf(secret: unknown): SessionOwner['secret'] {
  const own = (secret as { own?: unknown } | null | undefined)?.own;
  if (typeof own === 'string') return new Secret(own);
  return secret === 'credential' ? 'credential' : null;
}

/** Makes it over any durable token store; closes nothing. */
export function createSessionStore(store: TokenStore): SessionStore {
  return {
    async save(session) {
      const key = sessionKey(session.hash);
      const existing = await store.get(key);
      await store.replace(key, storedOfSession(session), { expectedVersion: existing?.version ?? null });
    },
    remove: (hash) => store.delete(sessionKey(hash)),
    async load() {
      const sessions: StoredSession[] = [];
      for (const name of await store.list()) {
        if (!name.startsWith(PREFIX)) continue;
        const entry = await store.get(keyOf(name)).catch(() => null);
        const session = entry && sessionOfStored(entry.value);
        if (session !== null) sessions.push(session);
      }
      return sessions;
    },
  };
}
