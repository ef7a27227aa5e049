// Authenticates a request: by X-Gateway-Key, Authorization (client secret, Basic, handle) or certificate. A value that
// looks like a handle but is unknown or expired is always an error; the request never falls back to another identity.
// What the caller may do is decided elsewhere.

import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import {
  ANONYMOUS,
  type Arrival,
  type Caller,
  certifiedCaller,
  type EarlierCaller,
  holdsHandle,
  OPERATOR,
} from '../auth/callers/caller.ts';
import { HANDLE_PREFIX, isHandle, isSignedHandle } from '../auth/callers/client-handle.ts';
import { type Authorization, type Clients, parseAuthorization } from '../auth/callers/clients.ts';
import type { Handles } from '../auth/callers/handles.ts';
import { isPageKey, type PageKeys } from '../auth/callers/page-keys.ts';
import { sessionEnded } from '../auth/callers/session.ts';
import type { Sessions } from '../auth/callers/sessions.ts';
import type { Bar, Standing } from '../auth/callers/standing.ts';
import { type ClientCas, isCertificateBelieved } from '../cert-subject.ts';
import { GatewayError } from '../errors.ts';
import { barred, contradicted, unauthenticated, wrongPageKey } from './authentication-error.ts';
import type { TrustedProxies } from './connection.ts';
import { verifiedCertificate } from './shown-certificate.ts';

/** What requests are authenticated by: parts of one configuration, and what outlives it. */
export interface AuthenticatorDeps {
  readonly clients: Clients;
  readonly handles: Handles;
  readonly sessions: Sessions;
  readonly standing: Pick<Standing, 'whyBarred'>;
  readonly trustedProxies: Pick<TrustedProxies, 'peerOf'>;
  /** The keys of the live page; none are taken without. */
  readonly pageKeys?: Pick<PageKeys, 'find'> | undefined;
  /** Whether anonymous callers are served although clients, or a client CA, are configured. */
  readonly isAnonymousServed: boolean;
  /** Whether anonymous callers are served also where others than local users reach the listener. */
  readonly unsafeAllowAnonymous?: boolean;
  /** What certificates of callers are verified by; null where none are asked for. */
  readonly clientCas?: ClientCas | null;
}

/** What authenticated an owner before: a client's name, and the mark of what it showed. */
interface KeptAuthentication {
  readonly client: string | null;
  readonly authFingerprint: string | null;
}

/** An id and a secret that were shown together: Basic, or fields of a form. */
export interface ClientCredentials {
  readonly name: string;
  readonly secret: string;
}

/** Authenticates requests for one configuration. */
export class Authenticator {
  readonly #clients: Clients;
  readonly #handles: Handles;
  readonly #sessions: Sessions;
  readonly #standing: Pick<Standing, 'whyBarred'>;
  readonly #trustedProxies: Pick<TrustedProxies, 'peerOf'>;
  readonly #pageKeys: Pick<PageKeys, 'find'> | undefined;
  /** Anonymous callers are served on local listeners. */
  readonly #isAnonymousServed: boolean;
  /** Anonymous callers are served on all other listeners, too. */
  readonly #unsafeAllowAnonymous: boolean;
  readonly #clientCas: ClientCas | null;

  constructor(deps: AuthenticatorDeps) {
    const { clients, handles, sessions, isAnonymousServed, unsafeAllowAnonymous = false, clientCas = null } = deps;
    this.#clients = clients;
    this.#handles = handles;
    this.#sessions = sessions;
    this.#standing = deps.standing;
    this.#trustedProxies = deps.trustedProxies;
    this.#pageKeys = deps.pageKeys;
    this.#isAnonymousServed = isAnonymousServed || (clients.isEmpty && clientCas === null);
    this.#unsafeAllowAnonymous = unsafeAllowAnonymous;
    this.#clientCas = clientCas;
  }

  /**
   * Who sends this request. Throws SessionElsewhere while a session is asked of the store that instances share,
   * gateway.session.ended for a handle that leads nowhere,
   * gateway.client.unauthenticated for a wrong secret, or for a client that may not call now or from there,
   * gateway.client.forbidden for proofs of two different clients. Costs nothing where there is no proof, microseconds
   * where there is.
   */
  authenticate(request: IncomingMessage, arrival: Arrival): Caller {
    const caller = this.#identify(request, arrival);
    this.#assertNotBarred(caller, request, arrival);
    return caller;
  }

  /**
   * The same on our own pages, where a key of the live page proves who calls, too. It decides alone: what a browser
   * sends along by itself counts for nothing beside it. Throws gateway.client.unauthenticated for one that is unknown
   * or over.
   */
  authenticateForPage(request: IncomingMessage, arrival: Arrival): Caller {
    const key = request.headers['x-gateway-key'];
    if (this.#pageKeys === undefined || typeof key !== 'string' || !isPageKey(key))
      return this.authenticate(request, arrival);
    const holder = this.#pageKeys.find(key);
    if (holder === 'operator' && this.asksForNoProof) return OPERATOR;
    if (holder === null || holder === 'operator') throw wrongPageKey();
    const caller = this.reauthenticate(holder, arrival, this.peerOf(request, arrival));
    if (caller === null) throw wrongPageKey();
    return caller;
  }

  /** Whether there is nothing that callers could prove themselves with: no client, no CA for certificates. */
  get asksForNoProof(): boolean {
    return this.#clients.isEmpty && this.#clientCas === null;
  }

  #identify(request: IncomingMessage, arrival: Arrival): Caller {
    const { authorization } = request.headers;
    const aside = this.#authenticateAside(request, arrival);
    if (authorization === undefined) return aside;
    assertNoHandleBehind(request.rawHeaders);
    const parsed = parseAuthorization(authorization);
    const shown = authorization.length > 0 ? this.#authenticateByAuthorization(parsed, arrival) : null;
    if (shown === null && parsed.scheme === 'bearer' && !this.#clients.isEmpty)
      (request as GuessingRequest)[GUESS] = parsed.token;
    if (shown === null) return aside;
    if (aside.client !== null && aside.client !== shown.client) throw contradicted();
    if (holdsHandle(aside) && !(aside.session === shown.session && aside.handle?.id === shown.handle?.id))
      throw contradicted();
    return shown;
  }

  /**
   * The same at the token endpoint, where Authorization belongs to the grant: `shown` is the id and secret given there.
   * A client's name with its secret authenticates that client, with another secret it throws
   * gateway.client.unauthenticated, and so does a handle; any other id proves nothing.
   */
  authenticateForToken(request: IncomingMessage, shown: ClientCredentials | null, arrival: Arrival): Caller {
    const caller = this.#identifyForToken(request, shown, arrival);
    this.#assertNotBarred(caller, request, arrival);
    return caller;
  }

  #identifyForToken(request: IncomingMessage, shown: ClientCredentials | null, arrival: Arrival): Caller {
    const aside = this.#authenticateAside(request, arrival);
    this.#assertNoDeadBearer(request, arrival);
    // A handle may be bound to one credential: it must not buy another that is not.
    const handle = shown && [shown.secret, shown.name].find(isHandle);
    if (holdsHandle(aside) || (handle != null && this.#authenticateByHandle(handle, arrival)))
      throw unauthenticated('a handle is no proof at a login', false);
    if (shown === null || this.#clients.get(shown.name) === undefined) return aside;
    const found = this.#clients.byNameAndSecret(shown.name, shown.secret);
    if (found === null) throw unauthenticated('authentication failed: that is not the secret of this client');
    if (aside.client !== null && aside.client !== found.client) throw contradicted();
    return found;
  }

  /**
   * The caller that `before` authenticated, as it is now; null when it would not any more: the secret was changed, the
   * client or a CA is gone, anonymous use has ended, or the client may not call now, or from `peer`.
   */
  reauthenticate(kept: KeptAuthentication, arrival: Arrival, peer: string | null): Caller | null {
    const owner = this.#asKept(kept, arrival);
    return owner === null || this.#whyBarred(owner, peer) !== null ? null : owner;
  }

  #asKept({ client, authFingerprint }: KeptAuthentication, arrival: Arrival): Caller | null {
    if (authFingerprint === null || authFingerprint === undefined)
      return client === null && this.#mayBeAnonymous(arrival) ? ANONYMOUS : null;
    const cas = this.#clientCas?.marks ?? [];
    if (client !== null) return this.#clients.byFingerprint(client, authFingerprint, cas);
    return this.#clients.isEmpty && isCertificateBelieved(authFingerprint, null, cas)
      ? certifiedCaller(authFingerprint)
      : null;
  }

  /** Who a request comes from, as `Standing` takes it. A socket that is gone tells no address. */
  peerOf(request: IncomingMessage, { peerName }: Arrival): string | null {
    const peer = this.#trustedProxies.peerOf(request);
    return peer === 'local' ? (peerName ?? null) : peer;
  }

  #whyBarred({ client }: Caller, peer: string | null): Bar | null {
    return client === null ? null : this.#standing.whyBarred(client, peer);
  }

  #assertNotBarred(caller: Caller, request: IncomingMessage, arrival: Arrival): void {
    if (caller.client === null) return;
    const peer = caller.client.from.length === 0 ? null : this.peerOf(request, arrival);
    const bar = this.#whyBarred(caller, peer);
    if (bar !== null) throw barred(bar, caller);
  }

  /**
   * Re-resolves a caller of an earlier request, for one that comes from `peer`; null when its proof would not be taken
   * any more, or its session or handle has ended. It is a use of the session.
   */
  renew(caller: EarlierCaller, arrival: Arrival, peer: string | null): Caller | null {
    const { handle, session } = caller;
    const owner = this.reauthenticate(keptOf(caller), arrival, peer);
    if (owner === null || (handle !== null && !this.#handles.isGood(handle))) return null;
    const current = session && this.#sessions.findByOwner(session.owner);
    if (session !== null && current === null) return null;
    return {
      ...owner,
      handle,
      session: current,
      isAuthenticated: owner.isAuthenticated || handle !== null || session !== null,
    };
  }

  /** Why a caller of an earlier request may not go on; null while it may. Unlike `renew` it is no use of a session. */
  revalidate(caller: EarlierCaller, arrival: Arrival, peer: string | null): GatewayError | null {
    const { handle, session } = caller;
    const isGood =
      (handle === null || this.#handles.isGood(handle)) && (session === null || this.#sessions.isGood(session.owner));
    const owner = isGood ? this.#asKept(keptOf(caller), arrival) : null;
    if (owner !== null) {
      const bar = this.#whyBarred(owner, peer);
      return bar && barred(bar, caller);
    }
    return holdsHandle(caller) ? sessionEnded() : unauthenticated('what proved who calls proves it no more', false);
  }

  /** `renew` for a caller whose request took its time: throws what `revalidate` says where it may not go on. */
  assertRenewed(caller: EarlierCaller, arrival: Arrival, peer: string | null): Caller {
    const current = this.renew(caller, arrival, peer);
    if (current === null) throw this.revalidate(caller, arrival, peer) ?? sessionEnded();
    return current;
  }

  /** Whether this caller is authenticated, or may call without. */
  isAdmitted(caller: Caller, arrival: Arrival): boolean {
    return caller.isAuthenticated || this.#mayBeAnonymous(arrival);
  }

  /** Throws gateway.client.unauthenticated when this caller is not authenticated and nobody may call without. */
  assertAdmitted(caller: Caller, arrival: Arrival): void {
    if (this.isAdmitted(caller, arrival)) return;
    throw unauthenticated('each call at this address must prove who makes it', false);
  }

  /**
   * Throws unless the caller may administer: a client with `admin` where clients are configured, else whoever has a
   * certificate where there is a CA for it, else anybody who is admitted.
   */
  assertAdmin(caller: Caller, arrival: Arrival): void {
    this.assertAdmitted(caller, arrival);
    if (caller.client?.isAdmin === true) return;
    const { isEmpty } = this.#clients;
    if (isEmpty && (this.#clientCas === null || caller.authFingerprint !== null)) return;
    if (isEmpty) throw unauthenticated('the admin pages need a client certificate here', false);
    if (!caller.isAuthenticated) throw unauthenticated('the admin pages need a client with admin = true', false);
    throw new GatewayError('gateway.client.forbidden', 'the admin pages need a client with admin = true');
  }

  #mayBeAnonymous({ isLocal }: Arrival): boolean {
    return this.#isAnonymousServed && (isLocal || this.#unsafeAllowAnonymous);
  }

  /** Authenticates by what may stand beside Authorization: X-Gateway-Key, a certificate. */
  #authenticateAside(request: IncomingMessage, arrival: Arrival): Caller {
    return this.#authenticateByKey(request, arrival) ?? this.#authenticateByCertificate(request) ?? ANONYMOUS;
  }

  #authenticateByKey(request: IncomingMessage, arrival: Arrival): Caller | null {
    const clients = this.#clients;
    const key = request.headers['x-gateway-key'];
    if (typeof key !== 'string') return null;
    if (isHandle(key)) return this.#authenticateByHandle(key, arrival);
    const found = clients.isEmpty ? null : clients.bySecret(key);
    if (found !== null) return found;
    // Several lines arrive as one.
    assertNoHandle(key);
    if (clients.isEmpty) return null;
    throw unauthenticated('X-Gateway-Key is not the secret of a client');
  }

  #authenticateByCertificate(request: IncomingMessage): Caller | null {
    const cas = this.#clientCas;
    if (cas === null) return null;
    const shown = verifiedCertificate(request.socket as TLSSocket, cas);
    // A connection may outlive the CA that it was verified by.
    if (shown === null || !isCertificateBelieved(shown.authFingerprint, null, cas.marks)) return null;
    const found = this.#clients.byCertificate(shown.key, shown.authFingerprint);
    return found ?? (this.#clients.isEmpty ? certifiedCaller(shown.authFingerprint) : null);
  }

  #authenticateByHandle(token: string, arrival: Arrival): Caller {
    if (isSignedHandle(token)) {
      const handle = this.#handles.find(token);
      return { ...this.#ownerOf(handle, arrival), handle, isAuthenticated: true };
    }
    const kept = this.#sessions.ownerOf(token);
    if (kept === null) throw this.#sessions.missing(token);
    const owner = this.#ownerOf(kept, arrival);
    const session = this.#sessions.find(token);
    if (session === null) throw sessionEnded();
    return { ...owner, session, isAuthenticated: true };
  }

  /**
   * A handle lives no longer than what proved its owner; one without an owner no longer than anonymous use, and only
   * where there is such.
   */
  #ownerOf(kept: KeptAuthentication | null, arrival: Arrival): Caller {
    const owner = kept && this.#asKept(kept, arrival);
    if (owner === null) throw sessionEnded();
    return owner;
  }

  /** Null when the header proves nothing: then the caller is who X-Gateway-Key or the certificate says. */
  #authenticateByAuthorization(authorization: Authorization, arrival: Arrival): Caller | null {
    const clients = this.#clients;
    if (authorization.scheme === 'bearer') {
      const { token } = authorization;
      if (isHandle(token)) return this.#authenticateByHandle(token, arrival);
      const found = clients.isEmpty ? null : clients.bySecret(token);
      if (found === null) assertNoHandle(token);
      if (found === null && !this.#mayBeAnonymous(arrival))
        throw unauthenticated('the Bearer value is not the secret of a client, nor a handle');
      return found;
    }
    if (authorization.scheme === 'other') {
      assertNoHandle(authorization.text);
      return null;
    }
    const { name, secret } = authorization;
    const handle = [secret, name].find(isHandle);
    if (handle !== undefined) return this.#authenticateByHandle(handle, arrival);
    const found = clients.isEmpty ? null : clients.byNameAndSecret(name, secret);
    if (found !== null) return found;
    assertNoHandle(`${name}:${secret}`);
    if (clients.isEmpty) return null;
    throw unauthenticated('no client has that name and secret');
  }

  /** Throws for a dead handle in Authorization of a token request, where a good one is no login either. */
  #assertNoDeadBearer({ headers: { authorization }, rawHeaders }: IncomingMessage, arrival: Arrival): void {
    if (authorization === undefined) return;
    assertNoHandleBehind(rawHeaders);
    const parsed = parseAuthorization(authorization);
    if (parsed.scheme === 'bearer' && isHandle(parsed.token)) this.#authenticateByHandle(parsed.token, arrival);
    else if (parsed.scheme !== 'basic') assertNoHandle(readable(parsed));
  }
}

/** The id and secret of a Basic header; null without one. */
export function readBasicCredentials(authorization: string | undefined): ClientCredentials | null {
  if (authorization === undefined) return null;
  const parsed = parseAuthorization(authorization);
  return parsed.scheme === 'basic' ? { name: parsed.name, secret: parsed.secret } : null;
}

/** What authenticates a caller again. */
function keptOf({ client, authFingerprint }: EarlierCaller): KeptAuthentication {
  return { client: client?.name ?? null, authFingerprint };
}

/**
 * The property under which a request carries a Bearer value that is no client's secret, where the call is served as
 * anonymous.
 */
const GUESS = Symbol('guess');

type GuessingRequest = IncomingMessage & { [GUESS]?: string };

/** The wrong Bearer value of a request that is served all the same; null without one. */
export function guessIn(request: IncomingMessage): string | null {
  return (request as GuessingRequest)[GUESS] ?? null;
}

/** Throws for a handle in a place where none is read: whoever shows one is never served as somebody else. */
function assertNoHandle(shown: string): void {
  if (shown.includes(HANDLE_PREFIX)) throw sessionEnded();
}

/**
 * Node keeps the first of several Authorization lines: a handle in a later one must not be passed over and the call
 * served as somebody else's.
 */
function assertNoHandleBehind(rawHeaders: readonly string[]): void {
  let isFirst = true;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length !== 13 || name.toLowerCase() !== 'authorization') continue;
    if (!isFirst) assertNoHandle(readable(parseAuthorization(rawHeaders[i + 1] as string)));
    isFirst = false;
  }
}

function readable(authorization: Authorization): string {
  if (authorization.scheme === 'basic') return `${authorization.name}:${authorization.secret}`;
  return authorization.scheme === 'bearer' ? authorization.token : authorization.text;
}
