// What the status document says of clients, and of callers who are none. It holds no secret: one is a fingerprint.

import { ANONYMOUS } from '../../auth/callers/caller.ts';
import { secretFingerprint } from '../../auth/callers/clients.ts';
import type { ClientConfig } from '../../config/gateway-config.ts';
import type { ServerContext } from '../context.ts';
import { isAnonymousServed } from '../listener-plan.ts';

/** One secret of a client; `fingerprint` null stands for its certificates. */
export interface SecretStatus {
  readonly fingerprint: string | null;
  readonly lastSeenAt: string | null;
  readonly lastFrom: string | null;
  readonly calls: number;
}

/** What somebody may do, and did. Times are ISO 8601 in UTC, or null; numbers count from the start. */
interface CallerStatus {
  /** The credentials it may use; of a client's, the first is its default. */
  readonly credentials: readonly string[];
  readonly rules: {
    readonly allow: readonly string[];
    readonly deny: readonly string[];
    readonly mode: 'enforce' | 'report';
  };
  readonly calls: number;
  /** Of the calls, how many the gateway refused by itself. */
  readonly refused: number;
  readonly lastSeenAt: string | null;
}

/** One client. */
export interface ClientStatus extends CallerStatus {
  readonly name: string;
  readonly state: 'active' | 'blocked' | 'expired';
  readonly blockedAt: string | null;
  readonly expiresAt: string | null;
  readonly secondsLeft: number | null;
  readonly isAdmin: boolean;
  /** Addresses it may call from; none: all. */
  readonly from: readonly string[];
  /** Requests that named it and whose proof was not taken. */
  readonly rejected: number;
  /** Notification sockets that are open now. */
  readonly sockets: number;
  readonly secrets: readonly SecretStatus[];
}

/** Callers who are no client. */
export interface AnonymousStatus extends CallerStatus {
  /** Whether there may be any. */
  readonly served: boolean;
}

/** The clients as they are now, in the order of the configuration. */
export function clientStatuses(gateway: ServerContext): readonly ClientStatus[] {
  const sockets = new Map<string, number>();
  for (const { caller } of gateway.openSockets.owners()) {
    const name = caller.client?.name;
    if (name !== undefined) sockets.set(name, (sockets.get(name) ?? 0) + 1);
  }
  return gateway.runtime.config.clients.map((client) => clientStatus(client, gateway, sockets.get(client.name) ?? 0));
}

/** One client as it is now. */
export function clientStatus(client: ClientConfig, gateway: ServerContext, sockets: number): ClientStatus {
  const { clock, blocks, activity, runtime } = gateway;
  const { name, expiresAt, allow, deny, mode, from, isAdmin } = client;
  const now = clock.now();
  const blockedAt = blocks.since(name);
  const isExpired = expiresAt !== null && expiresAt <= now;
  const { secrets, ...counts } = activity.of(name);
  return {
    name,
    state: blockedAt !== null ? 'blocked' : isExpired ? 'expired' : 'active',
    blockedAt: isoTime(blockedAt),
    expiresAt: isoTime(expiresAt),
    secondsLeft: expiresAt === null ? null : Math.max(0, Math.floor((expiresAt - now) / 1000)),
    isAdmin,
    credentials: runtime.access.usableBy({ ...ANONYMOUS, client }),
    rules: { allow, deny, mode },
    from,
    ...counts,
    lastSeenAt: lastOf(secrets),
    sockets,
    secrets: secretsOf(client, gateway),
  };
}

/** Each secret that would authenticate the client now, seen or not, and its certificates. */
function secretsOf({ name, certSubject }: ClientConfig, { runtime, activity }: ServerContext): readonly SecretStatus[] {
  const current = new Set<string | null>(runtime.clients.marksOf(name).map(secretFingerprint));
  if (certSubject !== null) current.add(null);
  const used = new Map(activity.of(name).secrets.map((use) => [use.fingerprint, use]));
  return [...current].map((fingerprint) => {
    const use = used.get(fingerprint);
    return {
      fingerprint,
      lastSeenAt: isoTime(use?.lastSeenAt ?? null),
      lastFrom: use?.lastFrom ?? null,
      calls: use?.calls ?? 0,
    };
  });
}

/** Callers who are no client. */
export function anonymousStatus({ runtime, activity }: ServerContext): AnonymousStatus {
  const { config, access } = runtime;
  const { secrets, calls, refused } = activity.of(null);
  return {
    served: isAnonymousServed(config),
    credentials: access.usableBy(ANONYMOUS),
    rules: { allow: config.server.anonymousAllow, deny: config.server.anonymousDeny, mode: 'enforce' },
    calls,
    refused,
    lastSeenAt: lastOf(secrets),
  };
}

function lastOf(secrets: readonly { readonly lastSeenAt: number }[]): string | null {
  return secrets.length === 0 ? null : isoTime(Math.max(...secrets.map(({ lastSeenAt }) => lastSeenAt)));
}

function isoTime(at: number | null): string | null {
  return at === null ? null : new Date(Math.min(at, 8.64e15)).toISOString();
}
