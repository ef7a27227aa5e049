// What the status says of the configured clients: what each may do, and what was seen of it.

import type { ServerContext } from '../context.ts';

/** The state of one client. Holds no secret, and no hash of one. */
export interface ClientStatus {
  readonly name: string;
  readonly isAdmin: boolean;
  /** The credentials it may use; the first is its default. */
  readonly credentials: readonly string[];
  readonly rules: {
    readonly allow: readonly string[];
    readonly deny: readonly string[];
    readonly mode: 'enforce' | 'report';
  };
  /** Open notification sockets. */
  readonly sockets: number;
  /** ISO 8601; null when it was not seen. */
  readonly lastSeenAt: string | null;
  /** Null where nobody counts. */
  readonly calls: number | null;
  readonly refused: number | null;
}

/** The configured clients, in the order of the configuration. */
export function clientStatuses({ runtime, openSockets, clientActivity }: ServerContext): readonly ClientStatus[] {
  const { clients } = runtime.config;
  if (clients.length === 0) return [];
  const sockets = new Map<string, number>();
  for (const { caller } of openSockets.owners()) {
    const name = caller.client?.name;
    if (name !== undefined) sockets.set(name, (sockets.get(name) ?? 0) + 1);
  }
  const [first] = runtime.config.credentials.filter(({ isDefault }) => isDefault);
  return clients.map(({ name, isAdmin, credentials, allow, deny, mode }) => {
    const seen = clientActivity?.(name) ?? null;
    return {
      name,
      isAdmin,
      credentials: credentials.length > 0 ? credentials : first === undefined ? [] : [first.name],
      rules: { allow, deny, mode },
      sockets: sockets.get(name) ?? 0,
      lastSeenAt: seen?.lastSeenAt == null ? null : new Date(seen.lastSeenAt).toISOString(),
      calls: seen?.calls ?? null,
      refused: seen?.refused ?? null,
    };
  });
}
