// Who makes a request: by X-Gateway-Key, Authorization (client secret, Basic, handle) or certificate. A handle is only
// ever itself, wherever it is shown: one that leads nowhere is an error, never another identity. It asks nothing of
// what the caller may do.

import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { ANONYMOUS, type Arrival, type Caller, certifiedCaller } from '../auth/callers/caller.ts';
import { HANDLE_PREFIX, isHandle, isSignedHandle } from '../auth/callers/client-handle.ts';
import type { Clients } from '../auth/callers/clients.ts';
import { type Authorization, parseAuthorization } from '../auth/callers/clients.ts';
import type { Handles } from '../auth/callers/handles.ts';
import { sessionEnded } from '../auth/callers/session.ts';
import type { Sessions } from '../auth/callers/sessions.ts';
import {
  type CertificateSubject,
  type ClientCas,
  certificateFingerprint,
  isCertificateBelieved,
  subjectKey,
} from '../cert-subject.ts';
import { GatewayError } from '../errors.ts';

/** Recognises callers for one configuration. */
export interface Authenticator {
  /**
   * Who sends this request. Throws gateway.session.ended for a handle that leads nowhere,
   * gateway.client.unauthenticated for a wrong secret, gateway.client.forbidden for proofs of two different clients.
   * Costs nothing where there is no proof, microseconds where there is.
   */
  authenticate(request: IncomingMessage, arrival: Arrival): Caller;
  /**
   * The same at the token endpoint, where Authorization belongs to the grant: `login` is the id and secret shown there.
   * A client's name with its secret proves that client, with another secret it throws gateway.client.unauthenticated,
   * and so does a handle; any other id proves nothing.
   */
  authenticateForToken(
    request: IncomingMessage,
    login: { readonly name: string; readonly secret: string } | null,
    arrival: Arrival,
  ): Caller;
  /**
   * Who proved itself by `proof` before, as it is now; null when that proves nothing any more: the secret was changed,
   * the client or a CA is gone, anonymous use has ended.
   */
  provedBy(
    before: { readonly client: string | null; readonly authFingerprint: string | null },
    arrival: Arrival,
  ): Caller | null;
  /**
   * A caller of before as it is now: null when what proved it would not any more, or its session or handle has ended.
   */
  renew(caller: Caller, arrival: Arrival): Caller | null;
  /** Why a caller of before may not go on; null while it may. Unlike `renew` it is no use of a session. */
  revalidate(caller: Caller, arrival: Arrival): GatewayError | null;
  /**
   * The same for a caller whose request has taken its time since: throws what `whyEnded` says where there is nobody any
   * more.
   */
  present(caller: Caller, arrival: Arrival): Caller;
  /** Throws gateway.client.unauthenticated when this caller proved nothing and nobody may call without. */
  assertAdmitted(caller: Caller, arrival: Arrival): void;
  /**
   * Throws unless the caller may administer: a client with `admin` where clients are configured, else whoever has a
   * certificate where there is a CA for it, else anybody who is admitted.
   */
  assertAdmin(caller: Caller, arrival: Arrival): void;
}

/** Parts of one configuration, and what outlives it. */
export interface AuthenticatorDeps {
  readonly clients: Clients;
  readonly handles: Handles;
  readonly sessions: Sessions;
  /** Whether callers without proof are served although clients, or a client CA, are configured. */
  readonly isAnonymousServed: boolean;
  /** Whether callers without proof are served also where others than local users reach the listener. */
  readonly unsafeAllowAnonymous?: boolean;
  /** What certificates of callers are verified by; null where none are asked for. */
  readonly clientCas?: ClientCas | null;
}

/** Makes the recogniser. */
export function createAuthenticator(deps: AuthenticatorDeps): Authenticator {
  const { clients, handles, sessions, unsafeAllowAnonymous = false, clientCas = null } = deps;
  const isAnonymousServed = deps.isAnonymousServed || (clients.isEmpty && clientCas === null);
  const mayBeAnonymous = ({ isLocal }: Arrival) => isAnonymousServed && (isLocal || unsafeAllowAnonymous);

  function provedBy(
    { client, authFingerprint }: { readonly client: string | null; readonly authFingerprint: string | null },
    arrival: Arrival,
  ): Caller | null {
    if (authFingerprint === null || authFingerprint === undefined)
      return client === null && mayBeAnonymous(arrival) ? ANONYMOUS : null;
    const cas = clientCas?.marks ?? [];
    if (client !== null) return clients.byFingerprint(client, authFingerprint, cas);
    return clients.isEmpty && isCertificateBelieved(authFingerprint, null, cas)
      ? certifiedCaller(authFingerprint)
      : null;
  }

  function byKey(request: IncomingMessage, arrival: Arrival): Caller | null {
    const key = request.headers['x-gateway-key'];
    if (typeof key !== 'string') return null;
    if (isHandle(key)) return byHandle(key, arrival);
    const found = clients.isEmpty ? null : clients.bySecret(key);
    if (found !== null) return found;
    // Several lines arrive as one.
    assertNoHandle(key);
    if (clients.isEmpty) return null;
    throw unauthenticated('X-Gateway-Key is not the secret of a client');
  }

  function byCertificate(request: IncomingMessage): Caller | null {
    if (clientCas === null) return null;
    const shown = verifiedCertificate(request.socket as TLSSocket, clientCas);
    // A connection may outlive the CA that it was verified by.
    if (shown === null || !isCertificateBelieved(shown.authFingerprint, null, clientCas.marks)) return null;
    return (
      clients.byCertificate(shown.key, shown.authFingerprint) ??
      (clients.isEmpty ? certifiedCaller(shown.authFingerprint) : null)
    );
  }

  function byHandle(token: string, arrival: Arrival): Caller {
    if (isSignedHandle(token)) {
      const handle = handles.find(token);
      return { ...ownerOf(handle, arrival), handle, isAuthenticated: true };
    }
    const owner = ownerOf(sessions.ownerOf(token), arrival);
    const session = sessions.find(token);
    if (session === null) throw sessionEnded();
    return { ...owner, session, isAuthenticated: true };
  }

  /**
   * A handle lives no longer than what proved its owner; one without an owner no longer than anonymous use, and only
   * where there is such.
   */
  function ownerOf(
    kept: { readonly client: string | null; readonly authFingerprint: string | null } | null,
    arrival: Arrival,
  ): Caller {
    const owner = kept && provedBy(kept, arrival);
    if (owner === null) throw sessionEnded();
    return owner;
  }

  /** Null when the header proves nothing: then the caller is who it is otherwise. */
  function byAuthorization(authorization: Authorization, arrival: Arrival): Caller | null {
    if (authorization.scheme === 'bearer') {
      const { token } = authorization;
      if (isHandle(token)) return byHandle(token, arrival);
      const found = clients.isEmpty ? null : clients.bySecret(token);
      if (found === null) assertNoHandle(token);
      if (found === null && !mayBeAnonymous(arrival))
        throw unauthenticated('the Bearer value is not the secret of a client, nor a handle');
      return found;
    }
    if (authorization.scheme === 'other') {
      assertNoHandle(authorization.text);
      return null;
    }
    const { name, secret } = authorization;
    const handle = [secret, name].find(isHandle);
    if (handle !== undefined) return byHandle(handle, arrival);
    const found = clients.isEmpty ? null : clients.byNameAndSecret(name, secret);
    if (found !== null) return found;
    assertNoHandle(`${name}:${secret}`);
    if (clients.isEmpty) return null;
    throw unauthenticated('no client has that name and secret');
  }

  /** At the token endpoint a handle in Authorization is nobody's login; but a dead one is dead there, too. */
  function assertNoDeadBearer({ headers: { authorization }, rawHeaders }: IncomingMessage, arrival: Arrival): void {
    if (authorization === undefined) return;
    assertNoHandleBehind(rawHeaders);
    const parsed = parseAuthorization(authorization);
    if (parsed.scheme === 'bearer' && isHandle(parsed.token)) byHandle(parsed.token, arrival);
    else if (parsed.scheme !== 'basic') assertNoHandle(readable(parsed));
  }

  const identifyAside = (request: IncomingMessage, arrival: Arrival): Caller =>
    byKey(request, arrival) ?? byCertificate(request) ?? ANONYMOUS;

  return {
    authenticate(request, arrival) {
      const { authorization } = request.headers;
      const aside = identifyAside(request, arrival);
      if (authorization === undefined) return aside;
      assertNoHandleBehind(request.rawHeaders);
      const parsed = parseAuthorization(authorization);
      const shown = authorization.length > 0 ? byAuthorization(parsed, arrival) : null;
      if (shown === null && parsed.scheme === 'bearer' && !clients.isEmpty)
        (request as GuessingRequest)[GUESS] = parsed.token;
      if (shown === null) return aside;
      if (aside.client !== null && aside.client !== shown.client) throw contradicted();
      if (holdsHandle(aside) && !(aside.session === shown.session && aside.handle?.id === shown.handle?.id))
        throw contradicted();
      return shown;
    },
    authenticateForToken(request, login, arrival) {
      const aside = identifyAside(request, arrival);
      assertNoDeadBearer(request, arrival);
      // A handle may be bound to one credential: it must not buy another that is not.
      const handle = login && [login.secret, login.name].find(isHandle);
      if (holdsHandle(aside) || (handle != null && byHandle(handle, arrival)))
        throw unauthenticated('a handle is no proof at a login', false);
      if (login === null || clients.get(login.name) === undefined) return aside;
      const found = clients.byNameAndSecret(login.name, login.secret);
      if (found === null) throw unauthenticated('authentication failed: that is not the secret of this client');
      if (aside.client !== null && aside.client !== found.client) throw contradicted();
      return found;
    },
    provedBy,
    renew(caller, arrival) {
      const { handle, session } = caller;
      const owner = provedBy(keptOf(caller), arrival);
      if (owner === null || (handle !== null && !handles.isGood(handle))) return null;
      const present = session && sessions.findByOwner(session.owner);
      if (session !== null && present === null) return null;
      return {
        ...owner,
        handle,
        session: present,
        isAuthenticated: owner.isAuthenticated || handle !== null || session !== null,
      };
    },
    revalidate(caller, arrival) {
      const { handle, session } = caller;
      const isGood =
        (handle === null || handles.isGood(handle)) && (session === null || sessions.isGood(session.owner));
      if (isGood && provedBy(keptOf(caller), arrival) !== null) return null;
      return holdsHandle(caller) ? sessionEnded() : unauthenticated('what proved who calls proves it no more', false);
    },
    present(caller, arrival) {
      const now = this.renew(caller, arrival);
      if (now === null) throw this.revalidate(caller, arrival) ?? sessionEnded();
      return now;
    },
    assertAdmitted(caller, arrival) {
      if (caller.isAuthenticated || mayBeAnonymous(arrival)) return;
      throw unauthenticated('each call at this address must prove who makes it', false);
    },
    assertAdmin(caller, arrival) {
      this.assertAdmitted(caller, arrival);
      if (caller.client?.isAdmin === true) return;
      if (clients.isEmpty && (clientCas === null || caller.authFingerprint !== null)) return;
      if (clients.isEmpty) throw unauthenticated('the admin pages need a client certificate here', false);
      if (!caller.isAuthenticated) throw unauthenticated('the admin pages need a client with admin = true', false);
      throw new GatewayError('gateway.client.forbidden', 'the admin pages need a client with admin = true');
    },
  };
}

/** What would prove a caller again. */
function keptOf({ client, authFingerprint }: Caller): {
  readonly client: string | null;
  readonly authFingerprint: string | null;
} {
  return { client: client?.name ?? null, authFingerprint };
}

/**
 * 401 for a caller that did not prove who it is. `isGuess`: a wrong secret was shown, so the answer is delayed when
 * that repeats.
 */
export class AuthenticationError extends GatewayError {
  readonly isGuess: boolean;

  constructor(message: string, isGuess: boolean) {
    super('gateway.client.unauthenticated', message);
    this.isGuess = isGuess;
  }
}

/** Whether an error refuses a secret that somebody tried; a call without any proof guesses nothing. */
export function isFailedAuthentication(error: unknown): boolean {
  return error instanceof AuthenticationError && error.isGuess;
}

/**
 * The property under which a request carries a Bearer value that is no client's secret, where it may be served without.
 */
const GUESS = Symbol('guess');

type GuessingRequest = IncomingMessage & { [GUESS]?: string };

/** The wrong Bearer value of a request that was identified and is not refused for it; null without one. */
export function guessIn(request: IncomingMessage): string | null {
  return (request as GuessingRequest)[GUESS] ?? null;
}

/** 401 with what to do. */
export function unauthenticated(what: string, isGuess = true): AuthenticationError {
  const advice = 'send its secret as Bearer, as Basic NAME:secret or in X-Gateway-Key (`gcg client add` makes one)';
  return new AuthenticationError(`${what}: ${advice}`, isGuess);
}

function contradicted(): GatewayError {
  return new GatewayError(
    'gateway.client.forbidden',
    'the proofs in this request belong to different callers: send one of them',
  );
}

const holdsHandle = ({ handle, session }: Caller): boolean => handle !== null || session !== null;

/** Where no handle can be read, one is not passed over either: whoever shows one is never served as somebody else. */
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

interface ShownCertificate {
  /** Its `subjectKey`. */
  readonly key: string;
  readonly authFingerprint: string;
}

const shownCertificates = new WeakMap<TLSSocket, ShownCertificate | null>();

/** A certificate that the TLS layer verified; looked at once per connection. */
function verifiedCertificate(socket: TLSSocket, cas: ClientCas): ShownCertificate | null {
  const known = shownCertificates.get(socket);
  if (known !== undefined) return known;
  const subject = socket.authorized
    ? ((socket.getPeerCertificate()?.subject as CertificateSubject | undefined) ?? null)
    : null;
  const key = subject && subjectKey(subject);
  const shown = key === null ? null : { key, authFingerprint: certificateFingerprint(key, cas.marksAt(socket)) };
  shownCertificates.set(socket, shown);
  return shown;
}
