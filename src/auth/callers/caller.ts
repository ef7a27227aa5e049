// Who makes a call, once it is authenticated: an anonymous caller, a client, or either with a handle. Data only.

import { certificateSubjectOf } from '../../cert-subject.ts';
import type { ClientConfig } from '../../config/gateway-config.ts';
import type { ClientHandle } from './client-handle.ts';
import type { Session } from './session.ts';

/**
 * Where a request came in: callers that are not authenticated may do something on local listeners, and nothing on those
 * that other machines reach.
 */
export interface Arrival {
  /**
   * Whether nobody but users of this machine can reach the listener, judged by the address that it is bound to. Known
   * once it is open, false before.
   */
  readonly isLocal: boolean;
  /** The peer of all its calls where they have no address: `unix:` and the path of its Unix socket. */
  readonly peerName?: string | undefined;
}

/**
 * A caller as every later step sees it. Anonymous and plain client callers are shared objects; nothing is made per
 * request for them.
 */
export interface Caller {
  /**
   * Null for anonymous callers, and for callers known by a certificate or a handle that belongs to no `[client.NAME]`.
   */
  readonly client: ClientConfig | null;
  /** The signed handle that was shown, if one was. */
  readonly handle: ClientHandle | null;
  /** The session whose handle was shown, if one was. */
  readonly session: Session | null;
  /**
   * What authenticated it: the mark of a secret, or of a certificate. Null for anonymous callers, also where they show
   * a handle given to one.
   */
  readonly authFingerprint: string | null;
  /** By secret, certificate or handle. */
  readonly isAuthenticated: boolean;
}

/** A caller of an earlier request: what authenticated it, and what of that has an end of its own. */
export interface EarlierCaller extends Pick<Caller, 'authFingerprint' | 'handle'> {
  readonly client: { readonly name: string } | null;
  readonly session: { readonly owner: Pick<Session['owner'], 'hash'> } | null;
}

/** Whether it is by a handle or a session that a caller is known. */
export const holdsHandle = ({
  handle,
  session,
}: {
  readonly handle: object | null;
  readonly session: object | null;
}): boolean => handle !== null || session !== null;

/** A caller that is not authenticated. */
export const ANONYMOUS: Caller = Object.freeze({
  client: null,
  handle: null,
  session: null,
  authFingerprint: null,
  isAuthenticated: false,
});

/** Whoever shows the key of this start, where nobody else has to prove anything: an anonymous caller otherwise. */
export const OPERATOR: Caller = Object.freeze({ ...ANONYMOUS });

/** A caller with a certificate of the configured CA while no clients are configured. */
export function certifiedCaller(authFingerprint: string): Caller {
  return { client: null, handle: null, session: null, authFingerprint, isAuthenticated: true };
}

/**
 * Whose something is that was given to a caller: a client's, whatever authenticated it; where there are no clients, a
 * certificate subject's; or any anonymous caller's. `client` is the client's name.
 */
export function ownerKey({
  client,
  authFingerprint,
}: {
  readonly client: string | null;
  readonly authFingerprint: string | null;
}): string {
  if (client !== null) return `client ${client}`;
  const subject = certificateSubjectOf(authFingerprint);
  return subject === null ? ANYBODY : `certificate ${subject}`;
}

/** The same of what is a caller's. */
export function ownerKeyOf({ client, authFingerprint }: Pick<Caller, 'client' | 'authFingerprint'>): string {
  return ownerKey({ client: client?.name ?? null, authFingerprint });
}

/** The `ownerKey` of what was given to an anonymous caller. */
export const ANYBODY = 'anonymous';
