// Who makes a request: by X-Gateway-Key, Authorization (client secret, Basic, handle) or certificate. A handle is only ever itself, wherever it
// is shown: one that leads nowhere is an error, never another identity. It asks nothing of what the caller may do.

import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { type Authorization, parseAuthorization } from '../auth/clients/authorization.ts';
import { ANONYMOUS, type Caller, CERTIFIED } from '../auth/clients/caller.ts';
import type { Clients } from '../auth/clients/clients.ts';
import { type ClientHandle, HANDLE_PREFIX, isHandle, isSignedHandle } from '../auth/handles/client-handle.ts';
import type { Handles } from '../auth/handles/handles.ts';
import { sessionEnded } from '../auth/sessions/session.ts';
import type { Sessions } from '../auth/sessions/sessions.ts';
import type { CertificateSubject } from '../config/cert-subject.ts';
import { GatewayError } from '../errors.ts';

/** A caller and, for a client known by a secret or certificate, what proved it. */
export interface Identified {
  readonly caller: Caller;
  readonly proof: string | null;
}

/** Recognises callers for one configuration. */
export interface Identity {
  /**
   * Who sends this request. Throws gateway.session.ended for a handle that leads nowhere, gateway.client.unauthenticated for a wrong secret,
   * gateway.client.forbidden for proofs of two different clients. Costs nothing where there is no proof, microseconds where there is.
   */
  identify(request: IncomingMessage): Caller;
  /**
   * The same at the token endpoint, where Authorization belongs to the grant: `login` is the id and secret shown there. A client's name with its
   * secret proves that client, with another secret it throws gateway.client.unauthenticated, and so does a handle; any other id proves nothing.
   */
  identifyForToken(request: IncomingMessage, login: { readonly name: string; readonly secret: string } | null): Identified;
  /** A caller of before as it is now: null when its client is gone, or its session or handle has ended. */
  renew(caller: Caller): Caller | null;
  /** Why a caller of before may not go on; null while it may. Unlike `renew` it is no use of a session. */
  whyEnded(caller: Caller): GatewayError | null;
  /** Throws gateway.client.unauthenticated when this caller proved nothing and nobody may call without. */
  assertAdmitted(caller: Caller): void;
  /** Throws unless the caller may administer: anybody admitted while no clients are configured, else a client with `admin`. */
  assertAdmin(caller: Caller): void;
}

/** Parts of one configuration, and what outlives it. */
export interface IdentityDeps {
  readonly clients: Clients;
  readonly handles: Handles;
  readonly sessions: Sessions;
  /** Whether callers without proof are served although clients, or a client CA, are configured. */
  readonly isAnonymousServed: boolean;
  readonly hasClientCa: boolean;
}

const NOBODY: Identified = { caller: ANONYMOUS, proof: null };

/** Makes the recogniser. */
export function createIdentity(deps: IdentityDeps): Identity {
  const { clients, handles, sessions, hasClientCa } = deps;
  const mayBeAnonymous = deps.isAnonymousServed || (clients.isEmpty && !hasClientCa);

  function byKey(request: IncomingMessage): Identified | null {
    const key = request.headers['x-gateway-key'];
    if (typeof key !== 'string') return null;
    if (isHandle(key)) return { caller: byHandle(key), proof: null };
    const found = clients.isEmpty ? null : clients.bySecret(key);
    if (found !== null) return found;
    // Several lines arrive as one.
    assertNoHandle(key);
    if (clients.isEmpty) return null;
    throw unauthenticated('X-Gateway-Key is not the secret of a client');
  }

  function byCertificate(request: IncomingMessage): Identified | null {
    if (!hasClientCa) return null;
    const subject = verifiedSubject(request.socket as TLSSocket);
    if (subject === null) return null;
    return clients.byCertificate(subject) ?? (clients.isEmpty ? { caller: CERTIFIED, proof: null } : null);
  }

  function byHandle(token: string): Caller {
    if (!isSignedHandle(token)) {
      const session = sessions.find(token);
      if (session === null) throw sessionEnded();
      return { ...ownerOf(session.terms.client), session };
    }
    const handle = handles.find(token);
    if (handle === null || !isStillProved(handle)) throw sessionEnded();
    return { ...ownerOf(handle.client), handle };
  }

  const isStillProved = ({ client, proof }: ClientHandle) => client === null || (proof !== null && clients.accepts(client, proof));

  const ownerless = (): Caller | undefined => (mayBeAnonymous || (clients.isEmpty && hasClientCa) ? CERTIFIED : undefined);

  /** A handle lives no longer than its owner; one without an owner no longer than anonymous use. */
  function ownerOf(name: string | null): Caller {
    const owner = name === null ? ownerless() : clients.get(name);
    if (owner === undefined) throw sessionEnded();
    return owner;
  }

  /** Null when the header proves nothing: then the caller is who it is otherwise. */
  function byAuthorization(authorization: Authorization): Caller | null {
    if (authorization.scheme === 'bearer') {
      const { token } = authorization;
      if (isHandle(token)) return byHandle(token);
      const found = clients.isEmpty ? null : clients.bySecret(token);
      if (found === null) assertNoHandle(token);
      if (found === null && !mayBeAnonymous) throw unauthenticated('the Bearer value is not the secret of a client, nor a handle');
      return found?.caller ?? null;
    }
    if (authorization.scheme === 'other') {
      assertNoHandle(authorization.text);
      return null;
    }
    const { name, secret } = authorization;
    const handle = [secret, name].find(isHandle);
    if (handle !== undefined) return byHandle(handle);
    const found = clients.isEmpty ? null : clients.byNameAndSecret(name, secret);
    if (found !== null) return found.caller;
    assertNoHandle(`${name}:${secret}`);
    if (clients.isEmpty) return null;
    throw unauthenticated('no client has that name and secret');
  }

  /** At the token endpoint a handle in Authorization is nobody's login; but a dead one is dead there, too. */
  function assertNoDeadBearer({ headers: { authorization }, rawHeaders }: IncomingMessage): void {
    if (authorization === undefined) return;
    assertNoHandleBehind(rawHeaders);
    const parsed = parseAuthorization(authorization);
    if (parsed.scheme === 'bearer' && isHandle(parsed.token)) byHandle(parsed.token);
    else if (parsed.scheme !== 'basic') assertNoHandle(readable(parsed));
  }

  const identifyAside = (request: IncomingMessage): Identified => byKey(request) ?? byCertificate(request) ?? NOBODY;

  return {
    identify(request) {
      const { authorization } = request.headers;
      const { caller: aside } = identifyAside(request);
      if (authorization === undefined) return aside;
      assertNoHandleBehind(request.rawHeaders);
      const parsed = parseAuthorization(authorization);
      const shown = authorization.length > 0 ? byAuthorization(parsed) : null;
      if (shown === null && parsed.scheme === 'bearer' && !clients.isEmpty) (request as GuessingRequest)[GUESS] = parsed.token;
      if (shown === null) return aside;
      if (aside.client !== null && aside.client !== shown.client) throw contradicted();
      if (holdsHandle(aside) && !(aside.session === shown.session && aside.handle?.id === shown.handle?.id)) throw contradicted();
      return shown;
    },
    identifyForToken(request, login) {
      const aside = identifyAside(request);
      assertNoDeadBearer(request);
      // A handle may be bound to one credential: it must not buy another that is not.
      const handle = login && [login.secret, login.name].find(isHandle);
      if (holdsHandle(aside.caller) || (handle != null && byHandle(handle))) throw unauthenticated('a handle is no proof at a login', false);
      if (login === null || clients.get(login.name) === undefined) return aside;
      const found = clients.byNameAndSecret(login.name, login.secret);
      if (found === null) throw unauthenticated('authentication failed: that is not the secret of this client');
      if (aside.caller.client !== null && aside.caller.client !== found.caller.client) throw contradicted();
      return found;
    },
    renew({ client, handle, session }) {
      const owner = client === null ? ownerless() : clients.get(client.name);
      if (owner === undefined || (handle !== null && !(handles.isGood(handle) && isStillProved(handle)))) return null;
      const present = session && sessions.findByTerms(session.terms);
      return session !== null && present === null ? null : { ...owner, handle, session: present };
    },
    whyEnded({ client, handle, session, isAuthenticated }) {
      const isOwned = client !== null ? clients.get(client.name) !== undefined : isAuthenticated ? ownerless() !== undefined : mayBeAnonymous;
      if (handle === null && session === null) return isOwned ? null : unauthenticated('whoever opened this is no client any more', false);
      const isGood = (handle === null || (handles.isGood(handle) && isStillProved(handle))) && (session === null || sessions.isGood(session.terms));
      return isOwned && isGood ? null : sessionEnded();
    },
    assertAdmitted(caller) {
      if (caller.isAuthenticated || mayBeAnonymous) return;
      throw unauthenticated('clients are configured here, so each call must prove who makes it', false);
    },
    assertAdmin(caller) {
      this.assertAdmitted(caller);
      if (clients.isEmpty || caller.client?.isAdmin === true) return;
      if (!caller.isAuthenticated) throw unauthenticated('the admin pages need a client with admin = true', false);
      throw new GatewayError('gateway.client.forbidden', 'the admin pages need a client with admin = true');
    },
  };
}

/** Refusals of a secret that was tried, which are slowed when they repeat; a call without any proof guesses nothing. */
const tried = new WeakSet<Error>();

/** Whether an error refuses a secret that somebody tried. */
export function isFailedProof(error: Error): boolean {
  return tried.has(error);
}

/** The property under which a request carries a Bearer value that is no client's secret, where it may be served without. */
const GUESS = Symbol('guess');

type GuessingRequest = IncomingMessage & { [GUESS]?: string };

/** The wrong Bearer value of a request that was identified and is not refused for it; null without one. */
export function guessIn(request: IncomingMessage): string | null {
  return (request as GuessingRequest)[GUESS] ?? null;
}

/** 401 with what to do. */
export function unauthenticated(what: string, isGuess = true): GatewayError {
  const advice = 'send its secret as Bearer, as Basic NAME:secret or in X-Gateway-Key (`gcg client add` makes one)';
  const error = new GatewayError('gateway.client.unauthenticated', `${what}: ${advice}`);
  if (isGuess) tried.add(error);
  return error;
}

function contradicted(): GatewayError {
  return new GatewayError('gateway.client.forbidden', 'the proofs in this request belong to different callers: send one of them');
}

const holdsHandle = ({ handle, session }: Caller): boolean => handle !== null || session !== null;

/** Where no handle can be read, one is not passed over either: whoever shows one is never served as somebody else. */
function assertNoHandle(shown: string): void {
  if (shown.includes(HANDLE_PREFIX)) throw sessionEnded();
}

/** Node keeps the first of several Authorization lines: a handle in a later one must not be passed over and the call served as somebody else's. */
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

const subjects = new WeakMap<TLSSocket, CertificateSubject | null>();

/** The subject of a certificate that the TLS layer verified; looked up once per connection. */
function verifiedSubject(socket: TLSSocket): CertificateSubject | null {
  const known = subjects.get(socket);
  if (known !== undefined) return known;
  const subject = socket.authorized ? ((socket.getPeerCertificate()?.subject as CertificateSubject | undefined) ?? null) : null;
  subjects.set(socket, subject);
  return subject;
}
